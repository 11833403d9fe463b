"""CIFAR-10: through torchvision, or from a folder or zip file of JPEGs."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condgen.data.augment import Augmentation
from condgen.data.base import ImageDataModule, Split, stratified_parts
from condgen.data.fingerprint import hash_files
from condgen.data.image_folder import ImageFolder
from condgen.data.images import ImageSet
from condgen.data.published import open_published

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class CIFAR10Images(ImageDataModule):
    """CIFAR-10 from any source: 32x32 colour images of ten classes, split in one way.

    The 50,000 training images are split into 45,000 and 5,000 for validation, stratified and fixed (seed 0); the
    10,000 test images are the published ones.
    """

    image_shape = (3, 32, 32)
    sizes: tuple[int, ...] = (45_000, 5_000, 10_000)

    def __init__(self, batch_size: int, eval_batch_size: int, augment: Augmentation | None) -> None:
        super().__init__(batch_size, eval_batch_size, augment)
        self.cond_spec = {"label": {"names": list(NAMES)}}
        self._parts: dict[str, ImageSet] = {}

    @abstractmethod
    def read(self, *, train: bool) -> ImageSet:
        """Read the published training or test images, in a fixed order."""

    def load(self, split: Split) -> ImageSet:
        """Read one split; training and validation images are read together, once."""
        if split not in self._parts:
            self._parts |= self._read_parts(train=split != "test")
        return self._parts.pop(split)

    @abstractmethod
    def files(self, *, train: bool) -> list[Path]:
        """Name the files that `read` reads."""

    def hash_split(self, split: Split) -> str:
        """Hash the published files."""
        return hash_files(self.files(train=split != "test"), split, self.sizes)

    def _read_parts(self, *, train: bool) -> dict[str, ImageSet]:
        images, sizes = self.read(train=train), self.sizes[:2] if train else self.sizes[2:]
        if len(images) != sum(sizes):
            what = "training" if train else "test"
            raise ValueError(f"{type(self).__name__} has {len(images):,} {what} images, not {sum(sizes):,}")
        if not train:
            return {"test": images}
        parts = stratified_parts(images.cond["label"], sizes, seed=0)
        return {name: images.take(part) for name, part in zip(("train", "validation"), parts, strict=True)}


class CIFAR10(CIFAR10Images):
    """CIFAR-10 (Krizhevsky 2009) as published, 45,000 training, 5,000 validation and 10,000 test images.

    Args:
        root: Folder that holds, or shall hold, torchvision's folder `cifar-10-batches-py`.
        download: Download the files if they are not there.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    def __init__(
        self,
        root: str = "data",
        download: bool = True,
        batch_size: int = 64,
        eval_batch_size: int = 500,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, augment)
        self.root = root
        self.download = download

    def prepare_data(self) -> None:
        """Download once per machine, if asked for and needed."""
        self._open(train=True, download=self.download)

    def read(self, *, train: bool) -> ImageSet:
        """Read torchvision's arrays."""
        source = self._open(train=train, download=False)
        pixels = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
        return ImageSet(pixels, {"label": torch.tensor(source.targets)})

    def files(self, *, train: bool) -> list[Path]:
        """Name the published batches."""
        names = [f"data_batch_{number}" for number in range(1, 6)] if train else ["test_batch"]
        return [self._folder / name for name in names]

    @property
    def _folder(self) -> Path:
        return Path(self.root).resolve() / "cifar-10-batches-py"

    def _open(self, *, train: bool, download: bool) -> Any:
        from torchvision import datasets

        opened = partial(datasets.CIFAR10, self.root, train=train, download=download)
        return open_published(opened, "CIFAR-10", self._folder, download)


class CIFAR10JPEG(ImageFolder):
    """CIFAR-10 as JPEGs in class folders, `{train,test}/<class>/*.jpg`, split as `CIFAR10` is.

    Such copies are lossy: scores against them are not comparable with those against the published images.

    Args:
        root: The zip file, or the folder that holds `train` and `test`.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    sizes: tuple[int, ...] = (45_000, 5_000, 10_000)

    def __init__(
        self,
        root: str = "data/CIFAR10_JPEG/cifar10_jpeg.zip",
        batch_size: int = 64,
        eval_batch_size: int = 500,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(root, 32, list(NAMES), batch_size=batch_size, eval_batch_size=eval_batch_size, augment=augment)

    def splits(self, given: dict[Split, Tensor], label: Tensor) -> dict[Split, Tensor]:
        """Return the published test images, and the fixed parts of the training images."""
        counts = {
            "training": (len(given["train"]), sum(self.sizes[:2])),
            "test": (len(given.get("test", [])), self.sizes[2]),
        }
        for what, (count, size) in counts.items():
            if count != size:
                raise ValueError(f"CIFAR10JPEG has {count:,} {what} images, not {size:,}")
        parts = stratified_parts(label[given["train"]], self.sizes[:2], seed=0)
        return {"train": given["train"][parts[0]], "validation": given["train"][parts[1]], "test": given["test"]}
