"""Feature extractors: frozen nets that turn uint8 images into features, each known by a content hash."""

from __future__ import annotations

import json
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch import Tensor, nn

from condgen.checks import check_shape
from condgen.nets import ConvClassifier
from condgen.pixels import to_model_range

WEIGHTS = Path(__file__).parent / "weights"


class ClassifierExtractor(nn.Module):
    """A `ConvClassifier` trained on real data, read from a safetensors file.

    Attributes:
        name: Suffix of the distances measured on its features, as in `fd_<name>`.
        sha256: Hash of the file's bytes.
        card: What the file says of itself: training data, accuracy on its test split.
        new_net: Factory of its net, untrained.

    Args:
        path: The file, as `save_classifier` writes it.

    Raises:
        ValueError: If the file is missing or holds no classifier.
    """

    label_classes = True
    """Its classes are the data's, so that its answers can be compared with what was asked for."""
    canonical = False
    """Only the features of the true Inception give `fid`, `kid` and `is`."""

    def __init__(self, path: str) -> None:
        super().__init__()
        try:
            content = Path(path).read_bytes()
            with safe_open(path, framework="pt") as file:
                self.card: dict[str, Any] = json.loads((file.metadata() or {})["condgen"])
            net = ConvClassifier(tuple(self.card["image_shape"]), self.card["num_classes"], **self.card["net"])
            net.load_state_dict(load_tensors(content))
        except (OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
            raise ValueError(f"{path} is not a classifier saved by condgen: {error}") from error
        except Exception as error:  # safetensors raises its own type, not exported
            raise ValueError(f"{path} is not a safetensors file: {error}") from error
        self.name: str = self.card["name"]
        self.sha256 = sha256(content).hexdigest()
        self.num_classes: int = self.card["num_classes"]
        self.feature_dim = net.feature_dim
        self.new_net = partial(ConvClassifier, **self.card["net"])
        self.net = net.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> ClassifierExtractor:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Map uint8 images (N, C, H, W) to features (N, 128) float32.

        Raises:
            TypeError: If the images are not uint8.
            ValueError: If their shape is not the one that the classifier was trained on.
        """
        check_shape(pixels, self.net.shape)
        return self.net.features(to_model_range(pixels))

    def logits(self, features: Tensor) -> Tensor:
        """Map features (N, 128) to class logits (N, K)."""
        out: Tensor = self.net.head(features)
        return out


class DigitsExtractor(ClassifierExtractor):
    """The classifier shipped for `Digits` (8x8)."""

    def __init__(self) -> None:
        super().__init__(str(WEIGHTS / "digits.safetensors"))


class MNISTExtractor(ClassifierExtractor):
    """The classifier shipped for `MNIST` (zero-padded to 32x32)."""

    def __init__(self) -> None:
        super().__init__(str(WEIGHTS / "mnist.safetensors"))


def save_classifier(net: ConvClassifier, path: Path, card: dict[str, Any]) -> None:
    """Write a classifier for `ClassifierExtractor`; `card` needs name, image_shape, num_classes and net's arguments."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    save_file(tensors, path, metadata={"condgen": json.dumps(card, sort_keys=True)})
