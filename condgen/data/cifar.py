"""What CIFAR-10 and CIFAR-100 share: one archive of pickled arrays, each known by its checksum."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condgen.data.archives import extract
from condgen.data.published import PublishedImages, fetch_archive
from condgen.whole import is_filled


class PublishedCIFAR(PublishedImages):
    """32x32 colour images, 45,000 for training, 5,000 for validation and the published 10,000 for test."""

    image_shape = (3, 32, 32)
    sizes = (45_000, 5_000, 10_000)

    @property
    def folder(self) -> Path:
        """Torchvision's folder of arrays."""
        folder: Path = Path(self.root).resolve() / self.source.base_folder
        return folder

    def fetch(self) -> None:
        """Download and extract the archive, unless its folder is there."""
        if not is_filled(self.folder):
            source = self.source
            archive = fetch_archive([source.url], self.folder.parent / source.filename, source.tgz_md5)
            with suppress(FileExistsError):  # another program was first
                extract(archive, self.folder, inner=source.base_folder)

    def files(self, *, train: bool) -> list[Path]:
        """Name the files of arrays."""
        return [self.folder / name for name, _ in (self.source.train_list if train else self.source.test_list)]

    def pixels(self, opened: Any) -> Tensor:
        """Bring the channels to the front.

        Raises:
            ValueError: If the files name other classes, which labels count.
        """
        if tuple(opened.classes) != self.names:
            raise ValueError(f"{self.title} in {self.folder} has other classes: {', '.join(opened.classes[:12])}")
        return torch.from_numpy(opened.data).permute(0, 3, 1, 2).contiguous()
