"""CIFAR-10: as published, or from a folder or archive of JPEGs."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from condgen.data.augment import Augmentation
from condgen.data.base import Split, stratified_parts
from condgen.data.cifar import PublishedCIFAR
from condgen.data.image_folder import ImageFolder
from condgen.data.stored import OnError

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


class CIFAR10JPEG(ImageFolder):
    """CIFAR-10 as JPEGs in class folders, `{train,test}/<class>/*.jpg`, split as `CIFAR10` is.

    Such copies are lossy: scores against them are not comparable with those against the published images.

    Args:
        root: The zip file, or the folder that holds `train` and `test`.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
        on_error: What to do if files are damaged: `fail` names them, `skip` leaves them out.
    """

    sizes: tuple[int, ...] = (45_000, 5_000, 10_000)

    def __init__(
        self,
        root: str = "data/CIFAR10_JPEG/cifar10_jpeg.zip",
        batch_size: int = 64,
        eval_batch_size: int = 500,
        augment: Augmentation | None = None,
        on_error: OnError = "fail",
    ) -> None:
        super().__init__(
            root,
            32,
            list(NAMES),
            on_error=on_error,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            augment=augment,
        )

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
