"""Arrays of uint8 images in `.npy` and `.npz` files."""

from __future__ import annotations

import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
        self._array = self._arrays[self._find(IMAGES)] if len(self._arrays) > 1 else next(iter(self._arrays.values()))
        check_levels(self._array, self.name)
        self._channels_last = channels_last(self._array.shape, self.name)
        self.label  # noqa: B018 - wrong labels are refused at once

    def _find(self, names: tuple[str, ...]) -> str:
        found = [name for name in names if name in self._arrays]
        if len(found) == 1:
            return found[0]
        raise ValueError(
            f"{self.name} must hold one array named {' or '.join(names)}; it holds {', '.join(self._arrays)}"
        )

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
        if not any(name in self._arrays for name in LABELS):
            return None
        label = np.asarray(self._arrays[self._find(LABELS)])
        if label.dtype.kind not in "iu" or label.shape != (len(self),) or label.min() < 0:
            raise ValueError(
                f"labels of {self.name} must be {len(self):,} integers >= 0, got {label.shape} {label.dtype}"
            )
        return torch.from_numpy(label.astype(np.int64))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._array)

    def read(self, place: int) -> Tensor:
        """Return one image (C, H, W) uint8."""
        image = torch.from_numpy(np.array(self._array[place]))
        if image.ndim == 2:
            return image.unsqueeze(0)
        return image.permute(2, 0, 1) if self._channels_last else image


def open_arrays(path: Path) -> dict[str, Any]:
    """Map the arrays of a file by name; the only one of a `.npy` file has none.

    Raises:
        ValueError: If it is damaged, or holds objects, which could be code.
    """
    try:
        if path.suffix == ".npy":
            return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():
                raise ValueError(f"{damaged} has a wrong checksum")
            members = [member for member in file.infolist() if member.filename.endswith(".npy")]
            arrays = {member.filename.removesuffix(".npy"): map_member(path, file, member) for member in members}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a whole {path.suffix} file of plain arrays: {error}") from error
    if not arrays:
        raise ValueError(f"{path} holds no array")
    return arrays


def map_member(path: Path, file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    """Map one array of a `.npz` file; read it if it is compressed."""
    with file.open(member) as stream:
        if member.compress_type != zipfile.ZIP_STORED:
            return np.lib.format.read_array(stream, allow_pickle=False)
        header = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if header == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
        skipped = stream.tell()
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds objects")
    with path.open("rb") as raw:  # name and extra field of the local head, which may differ from the directory's
        raw.seek(member.header_offset + 26)
        head = 30 + int.from_bytes(raw.read(2), "little") + int.from_bytes(raw.read(2), "little")
    start = member.header_offset + head + skipped
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


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
