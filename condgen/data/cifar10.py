"""CIFAR-10: through torchvision, or from a folder or zip file of JPEGs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from condgen.data.augment import Augmentation
from condgen.data.base import ImageDataModule, Split
from condgen.data.cifar import PublishedCIFAR
from condgen.data.class_folders import read_class_folders
from condgen.data.fingerprint import hash_files
from condgen.data.loader import ImageSet
from condgen.data.published import published_parts

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class CIFAR10(PublishedCIFAR):
    """CIFAR-10 (Krizhevsky 2009) as published: ten classes."""

    title = "CIFAR-10"
    names = NAMES

    @property
    def source(self) -> Any:
        """Torchvision's class."""
        from torchvision import datasets

        return datasets.CIFAR10


class CIFAR10JPEG(ImageDataModule):
    """CIFAR-10 as JPEGs in class folders, `{train,test}/<class>/*.jpg`, split as `CIFAR10` is.

    Such copies are lossy: scores against them are not comparable with those against the published images.

    Args:
        root: The zip file, or the folder that holds `train` and `test`.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    image_shape = (3, 32, 32)
    sizes: tuple[int, ...] = (45_000, 5_000, 10_000)

    def __init__(
        self,
        root: str = "data/CIFAR10_JPEG/cifar10_jpeg.zip",
        batch_size: int = 64,
        eval_batch_size: int = 500,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, augment)
        self.root = root
        self.cond_spec = {"label": {"names": list(NAMES)}}
        self._parts: dict[str, ImageSet] = {}

    def prepare_data(self) -> None:
        """Refuse a root that is not there."""
        if not Path(self.root).exists():
            raise FileNotFoundError(
                f"no file or folder {Path(self.root).resolve()}; set data.root to a zip file or folder of "
                "{train,test}/<class>/*.jpg"
            )

    def load(self, split: Split) -> ImageSet:
        """Decode the pictures, by class and then by name; training and validation images together, once."""
        self.prepare_data()
        if split not in self._parts:
            images = read_class_folders(Path(self.root), "test" if split == "test" else "train", NAMES, (32, 32))
            self._parts |= published_parts(images, self.sizes, split, type(self).__name__)
        return self._parts.pop(split)

    def hash_split(self, split: Split) -> str:
        """Hash the zip file, or the pictures."""
        root, folder = Path(self.root), "test" if split == "test" else "train"
        return hash_files([root] if root.is_file() else sorted((root / folder).glob("*/*.jpg")), split, self.sizes)
