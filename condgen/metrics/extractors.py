"""Feature extractors: frozen nets that turn uint8 images into features, each known by a content hash."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from condgen.checks import check_shape
from condgen.metrics.saved_net import read_net
from condgen.nets import ConvClassifier
from condgen.pixels import to_model_range
from condgen.types import Shape

WEIGHTS = Path(__file__).parent / "weights"
DIGIT_NAMES = [str(digit) for digit in range(10)]


class Extractor(nn.Module, ABC):
    """A frozen net that turns uint8 images into features.

    Attributes:
        name: Suffix of the distances measured on its features, as in `fd_<name>`.
        sha256: Hash of its weights, and of whatever else decides its features.
        card: What a reader of scores should know of it, in plain values.
        feature_dim: Number of features.
        num_classes: Number of classes that it tells apart; 0 if it has no logits.
        image_shape: (C, H, W) that it takes; null for any size, grey or colour.
        label_classes: Its classes are the data's, so that its answers can be compared with what was asked for.
        class_names: Names of its classes, where known: they are matched with the data's by name.
        canonical: It is the published Inception, whose scores alone are called `fid`, `kid` and `is`.
        new_net: Factory of an untrained classifier, for the classification accuracy score.
    """

    name: str
    sha256: str
    card: dict[str, Any]
    feature_dim: int
    num_classes = 0
    image_shape: Shape | None = None
    label_classes = False
    class_names: list[str] | None = None
    canonical = False
    new_net: Callable[[Shape, int], nn.Module] = ConvClassifier
    place: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("place", torch.empty(0), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where it is, though it may have no parameters."""
        return self.place.device

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """Map uint8 images (N, C, H, W) to features (N, D) float32.

        Raises:
            TypeError: If the images are not uint8.
            ValueError: If it does not take images of their shape.
        """

    def logits(self, features: Tensor) -> Tensor:
        """Map features (N, D) to class logits (N, K)."""
        raise TypeError(f"{type(self).__name__} has no classes")

    def train(self, mode: bool = True) -> Extractor:
        """Stay in evaluation mode."""
        return super().train(False)


class ClassifierExtractor(Extractor):
    """A `ConvClassifier` trained on real data, read from a safetensors file.

    Args:
        path: The file, as `save_net` writes it.

    Raises:
        ValueError: If the file is missing or holds no classifier.
    """

    label_classes = True

    def __init__(self, path: str) -> None:
        super().__init__()
        net, self.card, self.sha256 = read_net(path, ConvClassifier, "classifier")
        self.name = self.card["name"]
        self.num_classes = net.num_classes
        self.class_names = self.card.get("classes", self.class_names)
        self.feature_dim, self.image_shape = net.feature_dim, net.shape
        self.new_net = partial(ConvClassifier, **net.settings)
        self.net = net.to(memory_format=torch.channels_last)  # 1.6 times as fast on a CPU

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Map uint8 images (N, C, H, W) to features (N, 128) float32."""
        check_shape(pixels, self.net.shape)
        return self.net.features(to_model_range(pixels))

    def logits(self, features: Tensor) -> Tensor:
        """Map features (N, 128) to class logits (N, K)."""
        out: Tensor = self.net.head(features)
        return out


class DigitsExtractor(ClassifierExtractor):
    """The classifier shipped for `Digits` (8x8)."""

    class_names = DIGIT_NAMES

    def __init__(self) -> None:
        super().__init__(str(WEIGHTS / "digits.safetensors"))


class MNISTExtractor(ClassifierExtractor):
    """The classifier shipped for `MNIST` (zero-padded to 32x32)."""

    class_names = DIGIT_NAMES

    def __init__(self) -> None:
        super().__init__(str(WEIGHTS / "mnist.safetensors"))
