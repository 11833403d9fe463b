"""Where files are: in a folder, in a zip file, or in tar files; read by name, nothing unpacked."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path


class Store(ABC):
    """Files by name, such as `train/cat/1.jpg`, in the order of their names.

    Attributes:
        root: The folder or the archive.
        names: Names of the files.
        stamp: Changes when a file does, as far as can be told without reading files.
    """

    def __init__(self, root: Path, names: list[str], stamp: str) -> None:
        self.root = root
        self.names = names
        self.stamp = stamp

    @abstractmethod
    def read(self, place: int) -> bytes:
        """Return the content of one file.

        Raises:
            OSError: If it cannot be read, or is damaged.
        """

    @abstractmethod
    def title(self, place: int) -> str:
        """Name one file in an error."""


class FolderStore(Store):
    """Files in a folder and its subfolders; hidden ones are left out."""

    def __init__(self, root: Path) -> None:
        found = sorted(walk(str(root), ""))
        digest = blake2b(digest_size=16)
        for name, size, changed in found:
            digest.update(f"{name}\0{size}\0{changed}\n".encode(errors="surrogateescape"))
        super().__init__(root, [name for name, _, _ in found], digest.hexdigest())

    def read(self, place: int) -> bytes:
        """Return the content of one file."""
        with open(self.title(place), "rb") as file:
            return file.read()

    def title(self, place: int) -> str:
        """Return the file's path."""
        return os.path.join(self.root, self.names[place])


def walk(folder: str, prefix: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and time of change of each file below a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from walk(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file():
                status = entry.stat()
                yield prefix + entry.name, status.st_size, status.st_mtime_ns


def stamp_of(path: Path) -> tuple[str, int, int]:
    """Return a file's name, size and time of change."""
    status = path.stat()
    return path.name, status.st_size, status.st_mtime_ns
