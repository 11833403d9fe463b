"""Files and folders that are there whole, or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from typing import BinaryIO


@contextmanager
def whole_file(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Write a file, over one that is there, through a `.part` file beside it that no other process shares.

    Args:
        path: The file; its folder is made if needed.
        sync: Wait until it is on the disk, so that it is whole even after a power cut; takes milliseconds.

    Raises:
        OSError: If it cannot be written; the block must raise none of another meaning.
    """
    part = part_of(path)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                yield file
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(part, path)
            if sync:
                sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder through a `.part` folder beside it; if another process fills it meanwhile, that one stays.

    Raises:
        FileExistsError: If it is there already, and not empty.
        OSError: If it cannot be written; the block must raise none of another meaning.
    """
    if is_filled(folder):
        raise FileExistsError(f"{folder} is there already")
    part = part_of(folder)
    with _writing(folder):
        try:
            part.mkdir(parents=True)
            yield part
            os.sync()
            _rename(part, folder)
        finally:
            rmtree(part, ignore_errors=True)


def is_filled(folder: Path) -> bool:
    """Tell whether something is there, other than an empty folder."""
    return folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder are on the disk; systems that open no folders do it by themselves."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(number)
    finally:
        os.close(number)


def part_of(path: Path) -> Path:
    """Name a hidden neighbour of a path, another at each call."""
    return path.with_name(f".{path.name}.{token_hex(8)}.part")


def _rename(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error


def sweep(folder: Path, age: float = 86400.0) -> None:
    """Remove `.part` files and folders that killed processes left in a folder more than `age` seconds ago."""
    for path in folder.glob(".*.part"):
        try:
            if time.time() - path.stat().st_mtime > age:
                rmtree(path) if path.is_dir() else path.unlink()
        except OSError:  # it is gone, or another's
            pass
