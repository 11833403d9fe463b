"""Data sets that torchvision reads, from files that condgen downloads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from condgen.data.augment import Augmentation
from condgen.data.base import ImageDataModule, Split, stratified_parts
from condgen.data.fingerprint import hash_files
from condgen.data.images import ImageSet
from condgen.download import download as download_file
from condgen.seeding import generator
from condgen.whole import is_filled


class PublishedImages(ImageDataModule):
    """A data set with classes and a published test split, in torchvision's layout of files.

    The training images are split into training and validation, stratified and fixed (seed 0).

    A training image's `style` is the image itself, of which an encoder of few numbers keeps what the label leaves open.
    For validation and test it is an image of another class, so that samples are asked for a class in the style of one
    that shows none of it.

    Attributes:
        title: What the data set is called.
        names: Its classes, in the order of their labels.
        sizes: Images for training, validation and test.

    Args:
        root: Folder that holds, or shall hold, torchvision's folder of the data set.
        download: Download the files if they are not there.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches, not the images that give the style.
        style: Offer `style` beside `label`.
    """

    title: ClassVar[str]
    names: ClassVar[tuple[str, ...]]
    sizes: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        root: str = "data",
        download: bool = True,
        batch_size: int = 64,
        eval_batch_size: int = 500,
        augment: Augmentation | None = None,
        style: bool = False,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, augment)
        self.root = root
        self.download = download
        self.style = style
        self.cond_spec = {"label": {"names": list(self.names)}}
        if style:
            self.cond_spec["style"] = {"channels": self.image_shape[0]}
        self._parts: dict[str, ImageSet] = {}

    @property
    @abstractmethod
    def source(self) -> Any:
        """Torchvision's class, which knows addresses and checksums."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where its files are, or shall be."""

    @abstractmethod
    def fetch(self) -> None:
        """Download and unpack what is not in the folder."""

    @abstractmethod
    def files(self, *, train: bool) -> list[Path]:
        """Name the files of the training or test images."""

    @abstractmethod
    def pixels(self, opened: Any) -> Tensor:
        """Return torchvision's images as uint8 (N, *image_shape)."""

    def prepare_data(self) -> None:
        """Download once per machine, if asked for and needed.

        Raises:
            FileNotFoundError: If files are missing, and cannot be had.
            ValueError: If files are there, but damaged.
        """
        try:
            if self.download:
                self.fetch()
        except (OSError, ValueError) as error:
            remove_empty(self.folder)
            line = f"no {self.title} in {self.folder}: {error}; set data.root to a folder that holds it"
            raise FileNotFoundError(line) from error
        self._open(train=True)

    def load(self, split: Split) -> ImageSet:
        """Read one split; training and validation images are read together, once."""
        if split not in self._parts:
            opened = self._open(train=split != "test")
            images = ImageSet(self.pixels(opened), {"label": torch.as_tensor(opened.targets).long()})
            self._parts |= published_parts(images, self.sizes, split, type(self).__name__)
        images = self._parts.pop(split)
        if not self.style:
            return images
        shown = images.pixels if split == "train" else images.pixels[of_other_classes(images.cond["label"])]
        return ImageSet(images.pixels, images.cond | {"style": shown})

    def hash_split(self, split: Split) -> str:
        """Hash the published files."""
        conditions = ["style"] if self.style else []
        return hash_files(self.files(train=split != "test"), split, self.sizes, *conditions)

    def _open(self, *, train: bool) -> Any:
        """Open the training or test images with torchvision.

        Raises:
            ValueError: If files are there, but damaged.
            FileNotFoundError: If there are none.
        """
        try:
            return self.source(self.root, train=train)
        except (AssertionError, RuntimeError, ValueError, KeyError, TypeError, EOFError, OSError) as error:
            if is_filled(self.folder):
                line = f"{self.title} in {self.folder} is damaged: {error}; delete it and download it again"
                raise ValueError(line) from error
            remedy = "set data.root to a folder that holds it, or data.download to true"
            raise FileNotFoundError(f"no {self.title} in {self.folder}; {remedy}") from error


def published_parts(images: ImageSet, sizes: tuple[int, ...], split: Split, name: str) -> dict[str, ImageSet]:
    """Return the test images as they are, or the training images in two parts.

    Raises:
        ValueError: If there are more or fewer than `sizes` say.
    """
    what, due = ("test", sizes[2:]) if split == "test" else ("training", sizes[:2])
    if len(images) != sum(due):
        raise ValueError(f"{name} has {len(images):,} {what} images, not {sum(due):,}")
    if split == "test":
        return {"test": images}
    train, validation = stratified_parts(images.cond["label"], due, seed=0)
    return {"train": images.take(train), "validation": images.take(validation)}


def of_other_classes(label: Tensor) -> Tensor:
    """Return for each of some images the place of a random one of another class, (N,) int64, always the same.

    Args:
        label: Classes, (N,) int64, at least two of them.
    """
    order, sizes = label.argsort(stable=True), label.bincount()
    size, start = sizes[label], (sizes.cumsum(0) - sizes)[label]
    others = len(label) - size
    drawn = (torch.rand(len(label), generator=generator("style"), dtype=torch.float64) * others).long()
    return order[drawn + torch.where(drawn < start, 0, size)]


def fetch_archive(urls: Sequence[str], path: Path, md5: str) -> Path:
    """Return an archive, downloaded from the first address that gives it, unless it is there.

    Raises:
        OSError: If no address gives it.
    """
    if path.is_file():
        with path.open("rb") as file:
            if file_digest(file, "md5").hexdigest() == md5:
                return path
    reasons = []
    for url in urls:
        try:
            return download_file(url, path, md5=md5)
        except (OSError, ValueError) as error:
            reasons.append(str(error))
    raise OSError("; ".join(reasons))


def remove_empty(folder: Path) -> None:
    """Remove the empty folders that a failed download leaves."""
    for path in (folder, folder.parent):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
