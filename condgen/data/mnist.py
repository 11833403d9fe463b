"""MNIST and Fashion-MNIST, zero-padded to 32x32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from condgen.data.archives import expand_gzip
from condgen.data.published import PublishedImages, fetch_archive

MAX_BYTES = 64 << 20
"""Of one expanded file; the largest has 47 million."""


class PaddedMNIST(PublishedImages):
    """28x28 grey images in four files of MNIST's format, zero-padded to 32x32.

    55,000 images are for training, 5,000 for validation and the published 10,000 for test.
    """

    image_shape = (1, 32, 32)
    sizes = (55_000, 5_000, 10_000)

    @property
    def folder(self) -> Path:
        """Torchvision's folder of raw files."""
        return Path(self.root).resolve() / type(self).__name__ / "raw"

    def fetch(self) -> None:
        """Download and expand the files that are missing."""
        for name, md5 in self.source.resources:
            path = self.folder / name.removesuffix(".gz")
            if not path.is_file():
                urls = [mirror + name for mirror in self.source.mirrors]
                expand_gzip(fetch_archive(urls, self.folder / name, md5), path, MAX_BYTES)

    def files(self, *, train: bool) -> list[Path]:
        """Name the files of images and labels."""
        which = "train" if train else "t10k"
        return [self.folder / f"{which}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]

    def pixels(self, opened: Any) -> Tensor:
        """Pad the images, 2 zeros on each side."""
        return F.pad(opened.data.unsqueeze(1), (2, 2, 2, 2))


class MNIST(PaddedMNIST):
    """MNIST (LeCun et al. 1998): grey digits."""

    title = "MNIST"
    names = tuple(str(digit) for digit in range(10))

    @property
    def source(self) -> Any:
        """Torchvision's class."""
        from torchvision import datasets

        return datasets.MNIST


class FashionMNIST(PaddedMNIST):
    """Fashion-MNIST (Xiao et al. 2017): grey pictures of clothes."""

    title = "Fashion-MNIST"
    names = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
    )  # fmt: skip

    @property
    def source(self) -> Any:
        """Torchvision's class."""
        from torchvision import datasets

        return datasets.FashionMNIST
