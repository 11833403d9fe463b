"""What a zip or tar file of others may hold: plain files below it, not more than it may expand to."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

BLOCK = 1 << 20
MAX_BYTES = 64 << 30
MAX_MEMBERS = 4_000_000
RATIO, FLOOR = 200, 256 << 20
DECOMPRESS: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
CENTRAL_HEAD = b"PK\1\2"
ENCRYPTED = 0x1 | 0x40 | 0x2000
OTHER_KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class ArchiveError(ValueError):
    """An archive that is damaged, or that nobody should open; the message names it, and the member."""


class Entry(NamedTuple):
    """A file in an archive.

    Attributes:
        name: Its name, such as `a/b.jpg`.
        size: Number of its bytes.
        info: A ZipInfo or a TarInfo, which say where it is.
        blocks: Gives its content.
    """

    name: str
    size: int
    info: Any
    blocks: Callable[[], Iterator[bytes]]


class Door:
    """Admits members one by one, by name, kind and size.

    Args:
        archive: The file.
        max_bytes: What all members may expand to, heads of a tar file included; never more than 200 times the size of
            the archive, or 256 MiB if that is more.
        max_members: How many there may be.
    """

    def __init__(self, archive: Path, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS) -> None:
        if not archive.is_file():
            raise FileNotFoundError(f"no archive {archive}")
        self.archive = archive
        self.max_bytes = min(max_bytes, max(FLOOR, RATIO * archive.stat().st_size))
        self.max_members = max_members
        self._total = self._count = 0
        self._names: set[str] = set()

    def admit(self, raw: str, kind: str | None, size: int, *, folder: bool) -> str:
        """Return the name of a member without `.` and double slashes; `kind` says what it is, where it may not be."""
        name = safe_name(self.archive, raw)
        if kind is not None:
            raise ArchiveError(f"{raw!r} in {self.archive} is {kind}; only plain files and folders are read")
        self._count += 1
        self._total += size
        if self._count > self.max_members:
            raise ArchiveError(f"{self.archive} holds more than {self.max_members:,} members")
        if size < 0 or self._total > self.max_bytes:
            raise self.too_large(raw)
        if not folder:
            if name in self._names:
                raise ArchiveError(f"{raw!r} is in {self.archive} twice")
            self._names.add(name)
        return name

    def too_large(self, raw: str) -> ArchiveError:
        """Say that the archive expands to more than it may."""
        return ArchiveError(f"{self.archive} would expand to more than {self.max_bytes:,} bytes, with {raw!r}")


def safe_name(archive: Path, raw: str) -> str:
    """Return a member's name in plain form.

    Raises:
        ArchiveError: If it could leave the folder that it is extracted to, here or on another system.
    """
    path = PurePosixPath(raw)
    if not raw or any(ord(letter) < 32 for letter in raw):
        reason = "has control characters, or no letters at all"
    elif path.is_absolute() or raw[1:2] == ":":
        reason = "is an absolute name"
    elif ".." in path.parts:
        reason = "leads out of its folder by .."
    elif "\\" in raw:
        reason = "has a backslash, where a slash is due"
    else:
        return str(path)
    raise ArchiveError(f"{raw!r} in {archive} {reason}")


def entries(door: Door) -> Iterator[Entry]:
    """Give the files of an archive in their order; a content must be read before the next file is asked for.

    Raises:
        ArchiveError: If the archive is not whole, or a member is not admitted.
    """
    with door.archive.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        if head.startswith(b"PK"):
            yield from _zip_entries(door, file)
            return
        opener = _opener(head)
        with file if opener is None else opener(file) as stream:
            yield from _tar_entries(door, stream)


def is_compressed(archive: Path) -> bool:
    """Tell whether a file is compressed as a whole, by gzip, bzip2 or xz."""
    with archive.open("rb") as file:
        return _opener(file.read(6)) is not None


def _opener(head: bytes) -> Callable[[Any], Any] | None:
    return next((opener for magic, opener in DECOMPRESS.items() if head.startswith(magic)), None)


def _zip_entries(door: Door, file: IO[bytes]) -> Iterator[Entry]:
    with _said(f"{door.archive} is not a whole zip file"), ZipFile(file) as opened:
        infos = opened.infolist()
        names = [
            door.admit(info.orig_filename, _zip_kind(info), info.file_size, folder=info.filename.endswith("/"))
            for info in infos
        ]
        if hiding := [info for info in infos if CENTRAL_HEAD in info.extra + info.comment]:  # by one wrong length
            raise ArchiveError(f"{door.archive} is not a whole zip file: {hiding[0].filename!r} hides other members")
        for info, name in zip(infos, names, strict=True):
            if not info.filename.endswith("/"):
                blocks = partial(_blocks, door.archive, name, info.file_size, partial(opened.open, info))
                yield Entry(name, info.file_size, info, blocks)


def _zip_kind(info: ZipInfo) -> str | None:
    """Say what a member is, if it is not a plain file or folder."""
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link" if mode == stat.S_IFLNK else "a device"
    if info.flag_bits & ENCRYPTED:
        return "encrypted"
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):  # Python expands all others without a bound
        return f"compressed by method {info.compress_type}, not by deflate"
    return None


def _tar_entries(door: Door, file: IO[bytes]) -> Iterator[Entry]:
    stream: Any = _Bounded(file, door)
    with (
        _said(f"{door.archive} is neither a zip file nor a whole tar file"),
        tarfile.open(fileobj=stream, mode="r:") as opened,
    ):
        while (info := opened.next()) is not None:
            opened.members.clear()  # type: ignore[attr-defined]  # a million of them would fill the memory
            stream.member = info.name
            name = door.admit(info.name, _tar_kind(info), info.size, folder=info.isdir())
            if info.isreg():
                blocks = partial(_blocks, door.archive, name, info.size, _part(opened, info))
                yield Entry(name, info.size, info, blocks)
        if stream.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes whatever it cannot read for the end
            raise ArchiveError(f"{door.archive} is not a whole tar file: it has no end, after {stream.member!r}")
        while stream.read(BLOCK):  # to the checksum of the compression
            pass


def _tar_kind(info: tarfile.TarInfo) -> str | None:
    if info.isdir() or (info.isreg() and not info.issparse()):
        return None
    return OTHER_KINDS.get(tarfile.GNUTYPE_SPARSE if info.issparse() else info.type, f"of unknown type {info.type!r}")


def _part(opened: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], Any]:
    return partial(opened.extractfile, info)


def _blocks(archive: Path, name: str, size: int, open_member: Callable[[], IO[bytes]]) -> Iterator[bytes]:
    """Give the content of a member, refusing another size than it said."""
    count = 0
    with _said(f"{name!r} in {archive} is damaged"), open_member() as stream:
        while block := stream.read(BLOCK):
            count += len(block)
            yield block
        if count != size:
            raise ArchiveError(f"{name!r} in {archive} has {count:,} bytes, not {size:,} as it says")


class _Bounded:
    """A stream for tarfile, which would read a head of any size at once."""

    def __init__(self, stream: IO[bytes], door: Door) -> None:
        self._stream = stream
        self._door = door
        self.last = b""
        self.member = ""

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= BLOCK:
            raise ArchiveError(f"{self._door.archive} has a head of more than {BLOCK:,} bytes, after {self.member!r}")
        self.last = self._stream.read(count)
        if self.tell() > self._door.max_bytes:
            raise self._door.too_large(self.member)
        return self.last

    def seek(self, place: int) -> int:
        return self._stream.seek(place)

    def tell(self) -> int:
        return self._stream.tell()


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Turn whatever a parser raises on damaged bytes into one line."""
    try:
        yield
    except ArchiveError:
        raise
    except Exception as error:  # of nearly every kind
        raise ArchiveError(f"{what}: {' '.join(str(error).split()) or type(error).__name__}") from error
