"""Zip files with a hash of themselves in their comment: an altered byte is noticed, and zip readers read on."""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO
from zipfile import ZipFile

from condgen.heartbeat import heart

END = 22
"""Bytes of a zip file's end record, the last of which are the length of the comment behind it."""
MARK = b"condgen sha256 "
COMMENT = len(MARK) + 64


class SealedWriter:
    """Takes the bytes of a zip file, as `torch.save` writes them, and hashes them on their way.

    Args:
        file: Where they go; `seal` must be called after the last.

    Attributes:
        written: Bytes so far.
        error: What stopped the writing, which `torch.save` hides behind an error of its own.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.written = 0
        self.error: OSError | None = None
        self._hash = sha256()
        self._held = b""

    def write(self, data: bytes | memoryview) -> int:
        """Write all but what may be the end record."""
        kept = bytes(data[-END:])
        tail = (self._held + kept)[-END:]
        self._pass_on(self._held[: max(0, len(self._held) + len(kept) - END)])
        self._pass_on(data[: len(data) - len(kept)])
        self._held = tail
        return len(data)

    def flush(self) -> None:
        """Do nothing; the file is flushed once it is whole."""

    def seal(self) -> None:
        """Write the end record with a comment, and the hash of all before it as the comment."""
        self._pass_on(self._held[:-2] + struct.pack("<H", COMMENT) + MARK)
        self._pass_on(self._hash.hexdigest().encode())

    def _pass_on(self, data: bytes | memoryview) -> None:
        heart.beat()
        try:
            self.file.write(data)
        except OSError as error:
            self.error = error
            raise
        self._hash.update(data)
        self.written += len(data)


def check_seal(path: Path) -> None:
    """Compare a file with its hash.

    A zip file without a comment, which `torch.save` wrote by itself, has none, and is held to its own checksums.

    Raises:
        ValueError: If the file is not as it was written, or is a pipe or the like, which could be waited for forever.
    """
    status = path.stat()
    if not S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    _check(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _check(path: Path, inode: int, size: int, changed: int) -> None:
    with path.open("rb") as file:
        file.seek(max(0, size - END - COMMENT))
        tail = file.read()
        if tail[-END:].startswith(b"PK\x05\x06") and tail.endswith(b"\0\0"):
            _check_sums(path)
            return
        if tail[END - 2 : -64] != struct.pack("<H", COMMENT) + MARK:
            raise ValueError("its end is missing or altered")
        file.seek(0)
        found, left = sha256(), size - 64
        while block := file.read(min(left, 1 << 20)):
            found.update(block)
            left -= len(block)
    if found.hexdigest().encode() != tail[-64:]:
        raise ValueError("its sha256 is not the one that was saved with it")


def _check_sums(path: Path) -> None:
    """Compare what a zip file holds with its checksums, which torch does not look at."""
    try:
        with ZipFile(path) as archive:
            altered = archive.testzip()
    except Exception as error:  # zipfile and its decompressors each raise their own
        raise ValueError("it is no whole zip file") from error
    if altered is not None:
        raise ValueError(f"the checksum of {altered[:100]!r} in it is not the one that was saved with it")
