"""Pictures in class folders, on disk or inside a zip or tar file, read into one tensor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from condgen.data.archives import read_members
from condgen.data.decode import decode
from condgen.data.loader import ImageSet


def read_class_folders(root: Path, split: str, names: Sequence[str], size: tuple[int, int]) -> ImageSet:
    """Decode `<split>/<class>/*.jpg` to colour pixels (N, 3, *size), ordered by class and then by name.

    Args:
        root: A folder, or a zip or tar file.
        split: Folder inside it.
        names: Classes; the label is the place in this list.
        size: Height and width that each picture must have.

    Raises:
        ValueError: If a class has no pictures, a picture is damaged or has another size, or the archive is unsafe.
    """
    wanted = re.compile(rf"{re.escape(split)}/({'|'.join(map(re.escape, names))})/[^/]+\.jpg")
    pictures = read_members(root, wanted.fullmatch) if root.is_file() else read_folder(root, split, wanted)
    pixels = {path: decode_sized(content, f"{path} in {root}", size) for path, content in pictures}
    paths = [sorted(path for path in pixels if path.startswith(f"{split}/{name}/")) for name in names]
    for name, found in zip(names, paths, strict=True):
        if not found:
            raise ValueError(f"no pictures {split}/{name}/*.jpg in {root}")
    label = [number for number, found in enumerate(paths) for _ in found]
    return ImageSet(torch.stack([pixels[path] for found in paths for path in found]), {"label": torch.tensor(label)})


def read_folder(root: Path, split: str, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    """Give path and content of the pictures in a folder that are wanted, `<split>/<class>/*.jpg`."""
    for file in (root / split).glob("*/*.jpg"):
        if wanted.fullmatch(path := file.relative_to(root).as_posix()):
            yield path, file.read_bytes()


def decode_sized(content: bytes, name: str, size: tuple[int, int]) -> torch.Tensor:
    """Decode one picture to uint8 (3, *size), refusing another size."""
    pixels = decode(content, channels=3, name=name)
    if pixels.shape[1:] != size:
        raise ValueError(f"{name} is {pixels.shape[1]}x{pixels.shape[2]}, not {size[0]}x{size[1]}")
    return pixels
