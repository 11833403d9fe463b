"""A folder of image files, with its class subfolders as labels."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from condgen.data.decode import FORMATS, ORIENTATION, SUFFIXES, VERSION, decode, list_images, strict
from condgen.data.fingerprint import hash_files
from condgen.data.sources import DamagedImagesError, ImageSource
from condgen.types import Shape

SAMPLED = re.compile(r"label=(.+)-seed=\d+\.png")
"""Files that `condgen sample` writes."""


class FolderImages(ImageSource):
    """All images below a folder, in the order of their names.

    In class subfolders, sorted by name, each is a class; in one flat folder labels are known only if all files are
    named as `condgen sample` does, `label=3-seed=0.png`. Colours are kept, and grey files have three equal channels.

    Args:
        folder: The folder.
        skip_damaged: Leave damaged files out; they are an error otherwise.

    Raises:
        ValueError: If there is no image, or some lie in class subfolders and some do not.
    """

    uniform = False

    def __init__(self, folder: Path, skip_damaged: bool = False) -> None:
        super().__init__(str(folder))
        self.folder = folder
        self.skip_damaged = skip_damaged
        self.reader = f"decode {VERSION}"
        self.paths = list_images(folder)
        if not self.paths:
            raise ValueError(f"{folder} {what_else(folder)}")
        self._classes = class_of_each([path.relative_to(folder).as_posix() for path in self.paths], folder)
        self.class_names = None if self._classes is None else sorted(set(self._classes))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of names and bytes."""
        return hash_files(self.paths, [path.relative_to(self.folder).as_posix() for path in self.paths])

    @cached_property
    def shape(self) -> Shape:
        """Shape of the first image whose head can be read; none is decoded.

        Raises:
            DamagedImagesError: If none is.
        """
        for path in self.paths:
            if size := upright_size(path):
                return 3, *size
        raise DamagedImagesError(f"{self.name} holds no image that can be read, such as {self.paths[0]}")

    @cached_property
    def label(self) -> Tensor | None:
        """Labels (N,) int64: places in the sorted class names."""
        if self._classes is None or self.class_names is None:
            return None
        places = {name: place for place, name in enumerate(self.class_names)}
        return torch.tensor([places[name] for name in self._classes])

    def __len__(self) -> int:
        """Return the number of image files."""
        return len(self.paths)

    def read(self, place: int) -> Tensor:
        """Decode one file to RGB."""
        return decode(self.paths[place], channels=3)

    def title(self, place: int) -> str:
        """Return the file's path."""
        return str(self.paths[place])


def class_of_each(names: list[str], folder: Path) -> list[str] | None:
    """Name the class of each file by its path inside the folder, such as `cat/1.jpg`; None without classes.

    Raises:
        ValueError: If some lie in class subfolders, and others do not.
    """
    flat = [name for name in names if "/" not in name]
    if not flat:
        return [name[: name.index("/")] for name in names]
    if len(flat) < len(names):
        raise ValueError(f"{folder} has images in class subfolders and {len(flat):,} beside them, such as {flat[0]}")
    sampled = [SAMPLED.fullmatch(name) for name in names]
    return [match[1] for match in sampled if match] if all(sampled) else None


def upright_size(path: Path) -> tuple[int, int] | None:
    """Read height and width of an image from its head, as they are after EXIF's rotation; None if that fails."""
    try:
        with strict(), Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            turned = picture.getexif().get(ORIENTATION, 1) >= 5
    except Exception:  # Pillow's parsers raise errors of nearly every kind on damaged files
        return None
    return (width, height) if turned else (height, width)


def what_else(folder: Path) -> str:
    """Say what a folder without images holds."""
    files = (path for path in folder.rglob("*") if path.is_file())
    other = next(files, None)
    if other is None:
        return "is empty"
    return f"holds no images, but {other.name}; images end in {', '.join(sorted(SUFFIXES))}"
