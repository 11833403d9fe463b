"""MNIST through torchvision, zero-padded to 32x32."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch.nn import functional as F

from condgen.data.augment import Augmentation
from condgen.data.base import ImageDataModule, Split, stratified_parts
from condgen.data.fingerprint import hash_files
from condgen.data.images import ImageSet
from condgen.data.published import open_published


class MNIST(ImageDataModule):
    """MNIST (LeCun et al. 1998): 28x28 grey digits, zero-padded to 32x32.

    The 60,000 training images are split into 55,000 and 5,000 for validation, stratified and fixed (seed 0); the
    10,000 test images are the published ones.

    Args:
        root: Folder that holds, or shall hold, torchvision's folder `MNIST`.
        download: Download the files if they are not there.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    image_shape = (1, 32, 32)
    sizes = (55_000, 5_000)

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
        self.cond_spec = {"label": {"names": [str(digit) for digit in range(10)]}}

    def prepare_data(self) -> None:
        """Download once per machine, if asked for and needed."""
        self._read(train=True, download=self.download)

    def load(self, split: Split) -> ImageSet:
        """Read one split."""
        source = self._read(train=split != "test", download=False)
        images = ImageSet(F.pad(source.data.unsqueeze(1), (2, 2, 2, 2)), {"label": source.targets.long()})
        if split == "test":
            return images
        parts = stratified_parts(images.cond["label"], self.sizes, seed=0)
        return images.take(parts[0] if split == "train" else parts[1])

    def hash_split(self, split: Split) -> str:
        """Hash the published files."""
        which = "t10k" if split == "test" else "train"
        kinds = "images-idx3", "labels-idx1"
        return hash_files([self._folder / f"{which}-{kind}-ubyte" for kind in kinds], split, self.sizes)

    @property
    def _folder(self) -> Path:
        return Path(self.root).resolve() / "MNIST" / "raw"

    def _read(self, *, train: bool, download: bool) -> Any:
        from torchvision import datasets

        opened = partial(datasets.MNIST, self.root, train=train, download=download)
        return open_published(opened, "MNIST", self._folder, download)
