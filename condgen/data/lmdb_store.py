"""Files of LMDB databases, as LSUN is published, read where they are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from condgen.cache_root import kept
from condgen.data.stores import Store, stamp_of

FOLDER = re.compile(r"(.+)_(train|val)_lmdb")
KEY = re.compile(r"[\w.\-]+", re.ASCII)
SOURCE = "https://github.com/fyu/lsun says where LSUN is to be had"


class LMDBStore(Store):
    """Files `train/<class>/<key>.webp` and `val/<class>/<key>.webp` of databases `<class>_{train,val}_lmdb`.

    Keys are listed once, and kept. A database is opened for each file anew, which takes 0.1 ms and lets processes be
    forked at any time: an open one must not cross a fork, nor be opened twice in a process.

    Args:
        root: Folder of the databases' folders.
        classes: Classes to read; null for all.

    Raises:
        FileNotFoundError: If a class has no database.
        ValueError: If a database is damaged, or the package lmdb is not installed.
    """

    def __init__(self, root: Path, classes: Sequence[str] | None = None) -> None:
        if not root.is_dir():
            raise FileNotFoundError(f"no folder {root.resolve()}; set data.root; {SOURCE}")
        found = lmdb_folders(root)
        for name in classes if classes is not None else [] if found else ["<class>"]:
            if f"train/{name}" not in found and f"val/{name}" not in found:
                there = ", ".join(sorted({key.partition("/")[2] for key in found})) or "none"
                raise FileNotFoundError(f"no folder {name}_train_lmdb in {root}; classes there: {there}; {SOURCE}")
        self._folders = {
            key: path for key, path in found.items() if classes is None or key.partition("/")[2] in classes
        }
        names = [f"{key}/{name}.webp" for key, folder in self._folders.items() for name in keys(folder)]
        stamps = [(path.name, *stamp_of(path / "data.mdb")) for path in self._folders.values()]
        super().__init__(root, sorted(names), repr(stamps))

    def read(self, place: int) -> bytes:
        """Return the content of one file."""
        folder, key = self._find(place)
        with opened(folder) as database:
            content: bytes | None = database.get(key.encode())
        if content is None:
            raise OSError(f"{self.title(place)} is not there any more")
        return content

    def title(self, place: int) -> str:
        """Name the key and its database."""
        folder, key = self._find(place)
        return f"{key} in {folder}"

    def _find(self, place: int) -> tuple[Path, str]:
        folder, _, base = self.names[place].rpartition("/")
        return self._folders[folder], base.removesuffix(".webp")


def lmdb_folders(root: Path) -> dict[str, Path]:
    """Return the databases' folders by `<train or val>/<class>`."""
    found = ((FOLDER.fullmatch(path.name), path) for path in sorted(root.iterdir()))
    return {f"{match[2]}/{match[1]}": path for match, path in found if match and (path / "data.mdb").is_file()}


def keys(folder: Path) -> list[str]:
    """List the keys of a database, from the cache if it has been read before."""
    identity = str(folder.resolve()), stamp_of(folder / "data.mdb")
    found: list[str] = kept("lmdbs", identity, partial(read_keys, folder))
    return found


def read_keys(folder: Path) -> list[str]:
    """Read the keys of a database; no value is touched."""
    with opened(folder) as database:
        names = [key.decode("latin-1") for key in database.cursor().iternext(keys=True, values=False)]
    for name in names:
        if not KEY.fullmatch(name):
            raise ValueError(f"{folder} has the key {name[:60]!r}; keys have letters, digits, and . _ - alone")
    return names


@contextmanager
def opened(folder: Path) -> Iterator[Any]:
    """Open a database to read.

    Raises:
        OSError: If it cannot be read, or is not whole: parts that are missing would end the process when they are read.
    """
    lmdb = lmdb_package()
    try:
        with lmdb.open(os.fspath(folder), readonly=True, create=False, lock=False, readahead=False) as database:
            due = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
            size = (folder / "data.mdb").stat().st_size
            if size < due:
                raise OSError(f"{folder}/data.mdb is not whole: it has {size:,} bytes of {due:,}; unpack it again")
            with database.begin() as transaction:
                yield transaction
    except lmdb.Error as error:
        raise OSError(f"{folder} is no whole LMDB database: {error}") from error


def lmdb_package() -> Any:
    """Import the package.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        import lmdb
    except ImportError as error:
        raise ValueError("LMDB databases, such as LSUN's, take lmdb: pip install 'condgen[data]'") from error
    return lmdb
