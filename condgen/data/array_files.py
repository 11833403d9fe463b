"""Array files: `.npy`, and `.npz` with several arrays by name; mapped, not read whole, unless they are compressed."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np


class Head(NamedTuple):
    """What an array's head says: its shape, whether the first dimension varies fastest, and its type."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def read_head(stream: IO[bytes]) -> Head:
    """Read the head of an array file, and stop where the values begin."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return Head(*read(stream))


def array_heads(path: Path) -> dict[str, Head]:
    """Read what the arrays of a file are, by name; the only one of a `.npy` file has none.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is damaged, or holds no array.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path.resolve()}; set data.path")
    heads = {}
    with plain_arrays(path):
        if path.suffix == ".npy":
            with path.open("rb") as stream:
                return {"": read_head(stream)}
        with zipfile.ZipFile(path) as file:
            for name, member in array_members(file).items():
                with file.open(member) as stream:
                    heads[name] = read_head(stream)
    if not heads:
        raise ValueError(f"{path} holds no array")
    return heads


def open_arrays(path: Path, only: Collection[str] | None = None) -> dict[str, Any]:
    """Map the arrays of a file by name, or some of them; the only one of a `.npy` file has none.

    Raises:
        ValueError: If it is damaged, or holds objects, which could be code.
    """
    with plain_arrays(path):
        if path.suffix == ".npy":
            return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
        with zipfile.ZipFile(path) as file:
            members = {k: v for k, v in array_members(file).items() if only is None or k in only}
            arrays = {name: map_member(path, file, member) for name, member in members.items()}
    if not arrays:
        raise ValueError(f"{path} holds no array")
    return arrays


@contextmanager
def plain_arrays(path: Path) -> Iterator[None]:
    """Say what is wrong with a file in one line."""
    try:
        yield
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a whole {path.suffix} file of plain arrays: {error}") from error


def array_members(file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays of a `.npz` file by name."""
    members = (member for member in file.infolist() if member.filename.endswith(".npy"))
    return {member.filename.removesuffix(".npy"): member for member in members}


def map_member(path: Path, file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    """Map one array of a `.npz` file; read it if it is compressed."""
    with file.open(member) as stream:
        while stream.read(1 << 20):
            pass  # at its end the checksum is looked at
    with file.open(member) as stream:
        if member.compress_type != zipfile.ZIP_STORED:
            return np.lib.format.read_array(stream, allow_pickle=False)
        head = read_head(stream)
        skipped = stream.tell()
    if head.dtype.hasobject:
        raise ValueError(f"{member.filename} holds objects")
    if skipped + prod(head.shape) * head.dtype.itemsize != member.file_size:
        raise ValueError(f"{member.filename} is not as long as its head says")
    with path.open("rb") as raw:  # name and extra field of the local head, which may differ from the directory's
        raw.seek(member.header_offset + 26)
        start = 30 + int.from_bytes(raw.read(2), "little") + int.from_bytes(raw.read(2), "little")
    start += member.header_offset + skipped
    return np.memmap(path, head.dtype, "r", start, head.shape, "F" if head.fortran else "C")
