"""Pictures in class folders, on disk or inside a zip file, read into one tensor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch

from condgen.data.decode import decode
from condgen.data.loader import ImageSet


def read_class_folders(root: Path, split: str, names: Sequence[str], size: tuple[int, int]) -> ImageSet:
    """Decode `<split>/<class>/*.jpg` to colour pixels (N, 3, *size), ordered by class and then by name.

    Args:
        root: A folder, or a zip file.
        split: Folder inside it.
        names: Classes; the label is the place in this list.
        size: Height and width that each picture must have.

    Raises:
        ValueError: If a class has no pictures, a picture is damaged or has another size, or the zip file is damaged.
    """
    pictures = read_zip(root, split) if root.is_file() else read_folder(root, split)
    pixels: list[torch.Tensor] = []
    label: list[int] = []
    for number, name in enumerate(names):
        paths = sorted(path for path in pictures if path.startswith(f"{split}/{name}/"))
        if not paths:
            raise ValueError(f"no pictures {split}/{name}/*.jpg in {root}")
        pixels += [decode_sized(pictures[path], f"{path} in {root}", size) for path in paths]
        label += [number] * len(paths)
    return ImageSet(torch.stack(pixels), {"label": torch.tensor(label)})


def read_folder(root: Path, split: str) -> dict[str, bytes]:
    """Return the bytes of all `<split>/<class>/*.jpg` in a folder, by path."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in (root / split).glob("*/*.jpg")}


def read_zip(root: Path, split: str) -> dict[str, bytes]:
    """Return the bytes of all `<split>/<class>/*.jpg` in a zip file, by path."""
    try:
        with ZipFile(root) as archive:
            wanted = re.compile(rf"{re.escape(split)}/[^/]+/[^/]+\.jpg")
            return {path: archive.read(path) for path in archive.namelist() if wanted.fullmatch(path)}
    except BadZipFile as error:
        raise ValueError(f"{root} is not a whole zip file: {error}") from error


def decode_sized(content: bytes, name: str, size: tuple[int, int]) -> torch.Tensor:
    """Decode one picture to uint8 (3, *size), refusing another size."""
    pixels = decode(content, channels=3, name=name)
    if pixels.shape[1:] != size:
        raise ValueError(f"{name} is {pixels.shape[1]}x{pixels.shape[2]}, not {size[0]}x{size[1]}")
    return pixels
