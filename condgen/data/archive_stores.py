"""Files of zip and tar files, read where they are: nothing is unpacked."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipInfo, is_zipfile

from condgen.cache_root import kept
from condgen.data.archive_entries import Door, Entry, entries, is_compressed
from condgen.data.lmdb_store import LMDBStore, lmdb_folders
from condgen.data.stores import FolderStore, Store, stamp_of

MEMBER_LIMIT = 1 << 28
"""Bytes that a file in an archive may have: 256 MiB."""
ZIP_HEAD = 30


class Member(NamedTuple):
    """Where a file of an archive is.

    Attributes:
        name: Its name.
        archive: Number of the archive.
        start: Where its bytes begin; in a zip file, its head.
        size: Number of its bytes.
        packed: Number of bytes that it takes in the archive.
        method: How a zip file compresses it.
        crc: Its checksum in a zip file.
    """

    name: str
    archive: int
    start: int
    size: int
    packed: int = 0
    method: int = ZIP_STORED
    crc: int = 0


class ArchiveStore(Store):
    """Files of one or several archives, read by their position, so that threads and processes may share it.

    Args:
        root: The archive, or the folder of several.
        archives: The archives.
        members: Their files.

    Raises:
        ValueError: If two files have one name.
    """

    def __init__(self, root: Path, archives: Sequence[Path], members: list[Member]) -> None:
        self._members = sorted(members)
        names = [member.name for member in self._members]
        if len(set(names)) < len(names):
            twice = next(a for a, b in pairwise(names) if a == b)
            raise ValueError(f"{root} holds {twice} twice")
        super().__init__(root, names, repr([stamp_of(path) for path in archives]))
        self._archives = [str(path) for path in archives]
        self._files: dict[int, int] = {}

    def read(self, place: int) -> bytes:
        """Return the content of one file."""
        member = self._members[place]
        content = self.content(member)
        if len(content) != member.size:
            raise OSError(f"{self.title(place)} is damaged: it has {len(content):,} bytes, not {member.size:,}")
        return content

    def content(self, member: Member) -> bytes:
        """Read a file's bytes."""
        return self._at(member.archive, member.start, member.size)

    def title(self, place: int) -> str:
        """Name the file and its archive."""
        member = self._members[place]
        return f"{member.name} in {self._archives[member.archive]}"

    def archive_of(self, place: int) -> int:
        """Return the number of the archive that holds a file."""
        return self._members[place].archive

    def _at(self, archive: int, start: int, size: int) -> bytes:
        if archive not in self._files:
            self._files[archive] = os.open(self._archives[archive], os.O_RDONLY)
        return os.pread(self._files[archive], size, start)

    def __getstate__(self) -> dict[str, object]:
        """Leave open files behind."""
        return {**self.__dict__, "_files": {}}

    def __del__(self) -> None:
        """Close the archives."""
        for file in self.__dict__.get("_files", {}).values():
            os.close(file)


class ZipStore(ArchiveStore):
    """Files of a zip file.

    Raises:
        ArchiveError: If it is damaged, or a member is not admitted.
    """

    def __init__(self, root: Path) -> None:
        members = []
        for entry in entries(Door(root)):
            check_size(entry, root)
            info: ZipInfo = entry.info
            sizes = info.file_size, info.compress_size
            members.append(Member(entry.name, 0, info.header_offset, *sizes, info.compress_type, info.CRC))
        super().__init__(root, [root], visible(members))

    def content(self, member: Member) -> bytes:
        """Read a file's bytes after its head, whose length varies, and hold them to their checksum."""
        head = self._at(0, member.start, ZIP_HEAD)
        start = member.start + ZIP_HEAD + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        content = self._at(0, start, member.packed)
        try:
            if member.method == ZIP_DEFLATED:
                content = zlib.decompressobj(-15).decompress(content, member.size + 1)
        except zlib.error as error:
            raise OSError(f"{member.name} in {self.root} is damaged: {error}") from error
        if zlib.crc32(content) != member.crc:
            raise OSError(f"{member.name} in {self.root} is damaged: its checksum is wrong")
        return content


class TarStore(ArchiveStore):
    """Files of uncompressed tar files, such as WebDataset's shards; where they are is looked up once, and kept.

    Args:
        root: The archive, or the folder of several.
        archives: The archives.
        folders: Puts each archive's files into a folder of this name; null to put all files together.

    Raises:
        ValueError: If one is damaged or compressed, or a member is not admitted.
    """

    def __init__(self, root: Path, archives: Sequence[Path], folders: Sequence[str] | None = None) -> None:
        found = [member for number, path in enumerate(archives) for member in tar_members(path, number)]
        members = visible(found)
        if folders is not None:
            members = [member._replace(name=f"{folders[member.archive]}/{member.name}") for member in members]
        super().__init__(root, archives, members)


def tar_members(path: Path, number: int) -> list[Member]:
    """List the files of a tar file, from the cache if it has been read before."""
    identity = str(path.resolve()), stamp_of(path)
    return [Member(name, number, start, size) for name, start, size in kept("tars", identity, partial(heads, path))]


def heads(path: Path) -> list[tuple[str, int, int]]:
    """Read a tar file from head to head; return the name, the place and the size of each file."""
    if is_compressed(path):
        raise ValueError(f"{path} is compressed; it must be unpacked first")
    files = []
    for entry in entries(Door(path)):
        check_size(entry, path)
        files.append((entry.name, entry.info.offset_data, entry.size))
    return files


def visible(members: list[Member]) -> list[Member]:
    """Leave out files that are hidden, or in hidden folders, as macOS adds them."""
    return [
        member for member in members if not any(part[0] == "." or part == "__MACOSX" for part in member.name.split("/"))
    ]


def check_size(entry: Entry, archive: Path) -> None:
    """Refuse files that would not fit in memory."""
    if entry.size > MEMBER_LIMIT:
        raise ValueError(f"{entry.name} in {archive} has {entry.size:,} bytes, more than the limit of {MEMBER_LIMIT:,}")


def open_store(root: Path) -> Store:
    """Open a folder, a zip file, a tar file, or a folder of tar files or LMDB databases.

    Raises:
        ValueError: If it is none of them.
    """
    if root.is_dir():
        tars = sorted(path for path in root.iterdir() if path.suffix == ".tar" and path.name[0] != ".")
        if tars:
            return TarStore(root, tars)
        return LMDBStore(root) if lmdb_folders(root) else FolderStore(root)
    if not root.exists():
        raise FileNotFoundError(f"no file or folder {root.resolve()}; set data.root")
    if root.suffix.lower() == ".zip" or is_zipfile(root):
        return ZipStore(root)
    if ".tar" in root.suffixes or root.suffix == ".tgz":
        return TarStore(root, [root])
    raise ValueError(f"{root} is neither a folder nor a .zip or .tar file")
