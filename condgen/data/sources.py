"""Sets of images that can be scored, whoever made them: uint8 images in order, known by a hash of their content."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from condgen.data.base import ImageDataModule, Split
from condgen.data.decode import DecodeError
from condgen.data.fingerprint import hash_images
from condgen.data.fit import Fit, FitError
from condgen.data.images import Images, ImageSet
from condgen.types import Shape

SHOWN = 10


class Pixels(NamedTuple):
    """Images (N, C, H, W) uint8, and their labels (N,) int64 where known."""

    pixels: Tensor
    label: Tensor | None


class ImageSource(ABC):
    """Images with labels where known.

    Attributes:
        name: What protocols and errors call it.
        class_names: Names of the labels; null without labels, or where they are mere numbers.
        uniform: Whether all images have the shape of the first.
        skip_damaged: Whether damaged images are left out; they are an error otherwise.
        reader: What the pixels are a function of beside the content, such as a decoder's version.
        card: What protocols say of how the images were made, in plain values.
        cost: What it took to make them, in plain values, once they were read; empty where that is not known.
        decoded: Number of images that were read so far.
        damaged: What is wrong with each image that was left out.
    """

    class_names: list[str] | None = None
    uniform: bool = True
    skip_damaged: bool = False
    reader: str = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self.card: dict[str, Any] = {"data": name, "split": None}
        self.cost: dict[str, float | None] = {}
        self.decoded = 0
        self.damaged: list[str] = []

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the content; no image is decoded for it, where that can be avoided."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of the first image."""

    @property
    @abstractmethod
    def label(self) -> Tensor | None:
        """Labels (N,) int64, where known."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images, damaged ones among them."""

    @abstractmethod
    def read(self, place: int) -> Tensor:
        """Return one image (C, H, W) uint8.

        Raises:
            DecodeError: If it is damaged.
        """

    def title(self, place: int) -> str:
        """Name one image in an error."""
        return f"image {place} of {self.name}"

    def batches(self, fit: Fit, shape: Shape, batch_size: int = 512) -> Iterator[Pixels]:
        """Yield all images once, in order, the last batch with what is left.

        Args:
            fit: What may be done to images of another shape.
            shape: The shape that is due.
            batch_size: Images in a batch.

        Raises:
            FitError: If an image has another shape, and `fit` no answer.
            DamagedImagesError: After all were tried, if some are damaged and none may be left out.
        """
        self.damaged = []
        for places in torch.arange(len(self)).split(batch_size):
            rows = {place: image for place in places.tolist() if (image := self._row(place, fit, shape)) is not None}
            if rows:
                label = None if self.label is None else self.label[list(rows)]
                yield Pixels(torch.stack(list(rows.values())), label)
        if len(self.damaged) == len(self) or (self.damaged and not self.skip_damaged):
            raise DamagedImagesError(self.damage())

    def damage(self) -> str:
        """Say which images are damaged: the first ten by name."""
        return damage_line(self.damaged, len(self), self.name)

    def _row(self, place: int, fit: Fit, shape: Shape) -> Tensor | None:
        """Read one image and bring it to a shape; None if it is damaged."""
        try:
            image = self.read(place)
        except DecodeError as error:
            self.damaged.append(str(error))
            return None
        self.decoded += 1
        try:
            return fit(image, shape)
        except FitError as error:
            raise FitError(f"{self.title(place)} is {error}") from error


def damage_line(damaged: list[str], count: int, name: str) -> str:
    """Say which of some images are damaged: the first ten by name."""
    more = f"; and {len(damaged) - SHOWN:,} more" if len(damaged) > SHOWN else ""
    return f"{len(damaged):,} of {count:,} images of {name} are damaged: {'; '.join(damaged[:SHOWN])}{more}"


class DamagedImagesError(ValueError):
    """Files that are no whole images; the message names the first ten."""


class LoadedImages(ImageSource):
    """Images of one shape that come into memory all at once, when their pixels are first asked for.

    Attributes:
        asked_of: The split whose conditions samples were asked for; null where they were classes in turn, or nothing,
            and for images that are no samples of a model.
        target: The images that belong to these conditions, (N, C, H, W) uint8; there once the samples were drawn.
    """

    asked_of: SplitImages | None = None
    target: Tensor | None = None

    @abstractmethod
    def load(self) -> ImageSet:
        """Return all images, with `label` among the conditions where known."""

    @cached_property
    def images(self) -> ImageSet:
        """The images."""
        return self.load()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of pixels and conditions."""
        return hash_images(self.images)

    @property
    def shape(self) -> Shape:
        """Shape of all images."""
        channels, height, width = self.images.pixels.shape[1:]
        return channels, height, width

    @property
    def label(self) -> Tensor | None:
        """Labels (N,) int64, where known."""
        return self.images.cond.get("label")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def read(self, place: int) -> Tensor:
        """Return one image (C, H, W) uint8."""
        return self.images.pixels[place]


class MemoryImages(LoadedImages):
    """Images in memory.

    Args:
        pixels: (N, C, H, W) uint8.
        label: (N,) int64, where known.
        class_names: Names of the labels.
        name: What protocols and errors call them.
    """

    def __init__(
        self,
        pixels: Tensor,
        label: Tensor | None = None,
        class_names: list[str] | None = None,
        name: str = "images in memory",
    ) -> None:
        super().__init__(name)
        if pixels.ndim != 4 or pixels.dtype != torch.uint8 or not len(pixels):
            raise ValueError(f"images must be (N, C, H, W) uint8, N >= 1, got {tuple(pixels.shape)} {pixels.dtype}")
        self._set = ImageSet(pixels, {} if label is None else {"label": label})
        self.class_names = class_names

    def load(self) -> ImageSet:
        """Return the images."""
        return self._set


class SplitImages(LoadedImages):
    """One split of a data module; its files are downloaded first if the module does that.

    Args:
        module: The data module.
        split: `train`, `validation` or `test`.
    """

    def __init__(self, module: ImageDataModule, split: Split) -> None:
        super().__init__(f"{type(module).__name__} {split}")
        self.module = module
        self.split: Split = split
        self.class_names = module.cond_spec.get("label", {}).get("names")
        self.card = {"data": type(module).__name__, "split": split}

    def load(self) -> ImageSet:
        """Read the split."""
        return self.stored().all()

    def stored(self) -> Images:
        """Return the split, of which rows are read as they are asked for."""
        self.module.prepare_data()
        return self.module.images(self.split)

    @cached_property
    def fingerprint(self) -> str:
        """What the data module says of the split."""
        self.module.prepare_data()
        return self.module.fingerprint(self.split)

    @property
    def shape(self) -> Shape:
        """Shape of all images."""
        return self.module.image_shape
