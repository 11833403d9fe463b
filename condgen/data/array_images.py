"""Arrays of uint8 images in `.npy` and `.npz` files."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condgen.data.array_files import open_arrays
from condgen.data.fingerprint import hash_files
from condgen.data.sources import ImageSource
from condgen.types import Shape

IMAGES = ("images", "arr_0", "x", "samples")
LABELS = ("labels", "label", "arr_1", "y")
"""Names in `.npz` files; `arr_0` and `arr_1` are those of the published samples of guided diffusion."""
CHANNELS = (1, 3)


class ArrayImages(ImageSource):
    """Images in a `.npy` file, or a `.npz` file with their labels beside them.

    Arrays are (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels, uint8. They are mapped, not read whole,
    unless the file is compressed.

    Args:
        path: The file.

    Raises:
        ValueError: If it holds no such array, several, or labels that do not belong to it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path
        self._arrays = open_arrays(path)
        self._array = self._arrays[images_among(list(self._arrays), self.name)]
        check_levels(self._array, self.name)
        self._channels_last = channels_last(self._array.shape, self.name)
        self.label  # noqa: B018 - wrong labels are refused at once

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the file's bytes."""
        return hash_files([self.path])

    @property
    def shape(self) -> Shape:
        """Shape of all images."""
        channels, height, width = self.read(0).shape
        return channels, height, width

    @cached_property
    def label(self) -> Tensor | None:
        """Labels (N,) int64, where the file has them."""
        found = labels_among(list(self._arrays), self.name)
        return None if found is None else read_labels(self._arrays[found], len(self), self.name)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._array)

    def read(self, place: int) -> Tensor:
        """Return one image (C, H, W) uint8."""
        return planes(self._array[place : place + 1], self._channels_last)[0]


def images_among(names: list[str], title: str) -> str:
    """Return the name of the array of images: the only one, or one of those known.

    Raises:
        ValueError: If there is none, or several.
    """
    return names[0] if len(names) == 1 else only_one(IMAGES, names, title)


def labels_among(names: list[str], title: str) -> str | None:
    """Return the name of the array of labels; None if there is none.

    Raises:
        ValueError: If there are several.
    """
    return only_one(LABELS, names, title) if any(name in names for name in LABELS) else None


def only_one(known: tuple[str, ...], names: list[str], title: str) -> str:
    """Return the one of some known names that is there."""
    found = [name for name in known if name in names]
    if len(found) == 1:
        return found[0]
    raise ValueError(f"{title} must hold one array named {' or '.join(known)}; it holds {', '.join(names)}")


def read_labels(array: Any, count: int, title: str) -> Tensor:
    """Copy labels, (N,) or (N, 1), to (N,) int64.

    Raises:
        ValueError: If they are not `count` integers of at least 0.
    """
    label = np.asarray(array)
    if label.dtype.kind not in "iu" or label.shape not in ((count,), (count, 1)) or label.min() < 0:
        raise ValueError(f"labels of {title} must be {count:,} integers >= 0, got {label.shape} {label.dtype}")
    return torch.from_numpy(label.reshape(-1).astype(np.int64))


def planes(images: Any, last: bool) -> Tensor:
    """Copy images (M, H, W), (M, C, H, W), or (M, H, W, C) if `last`, to (M, C, H, W) uint8."""
    copied = torch.from_numpy(np.array(images))
    return copied.unsqueeze(1) if copied.ndim == 3 else copied.movedim(3, 1).contiguous() if last else copied


def check_levels(array: Any, name: str) -> None:
    """Refuse what is not uint8, saying what the values look like."""
    if array.dtype == np.uint8:
        return
    kind, low_high = str(array.dtype), ""
    remedy = "save them as uint8 in [0, 255]"
    if array.dtype.kind in "iuf" and array.size:
        part = np.asarray(array[:1000])
        low, high = float(part.min()), float(part.max())
        low_high = " with NaN" if np.isnan(part).any() else f" in [{low:.4g}, {high:.4g}]"
        if low < 0 and low >= -1 and high <= 1:
            remedy = "save ((x + 1) * 127.5).round().clip(0, 255).astype('uint8')"
        elif low >= 0 and high <= 1:
            remedy = "save (x * 255).round().clip(0, 255).astype('uint8')"
    raise ValueError(f"images of {name} are {kind}{low_high}, where uint8 in [0, 255] is due; {remedy}")


def channels_last(shape: tuple[int, ...], name: str) -> bool:
    """Tell whether the channels stand last; those of (N, H, W) do not.

    Raises:
        ValueError: If that is not clear, or there are no images.
    """
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(f"images of {name} must be (N, H, W), (N, H, W, C) or (N, C, H, W), got {shape}")
    if len(shape) == 3:
        return False
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        why = "could be both" if first else "has neither 1 nor 3 channels"
        raise ValueError(f"images of {name} must be (N, H, W, C) or (N, C, H, W); {shape} {why}")
    return last
