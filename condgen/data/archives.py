"""Zip, tar and gzip files of others are expanded whole, below one folder and not without end, or not at all."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from condgen.data.archive_entries import BLOCK, MAX_BYTES, MAX_MEMBERS, ArchiveError, Door, Entry, entries
from condgen.whole import whole_file, whole_folder


def extract(
    archive: Path, folder: Path, *, inner: str = "", max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS
) -> Path:
    """Extract a zip or tar file to a new folder, which is there whole or not at all.

    Args:
        archive: The file; a tar file may be compressed by gzip, bzip2 or xz.
        folder: The folder to make.
        inner: Folder of the archive whose content is wanted; all by default.
        max_bytes: What it may expand to; never more than 200 times its size, or 256 MiB if that is more.
        max_members: How many files and folders it may hold.

    Raises:
        ArchiveError: If it is not whole, expands to more, or a member is a link, a device, encrypted, there twice, or
            has a name that is absolute, leads out by `..`, or has backslashes or control characters.
        FileExistsError: If the folder is there.
        OSError: If it cannot be written.
    """
    door, found = Door(archive, max_bytes, max_members), False
    with whole_folder(folder) as part:
        for entry in entries(door):
            path = PurePosixPath(entry.name)
            if path.is_relative_to(inner):
                _write(archive, entry, part / path.relative_to(inner))
                found = True
        if not found:
            raise ArchiveError(f"{archive} holds no file{f' below {inner}' if inner else ''}")
    return folder


def _write(archive: Path, entry: Entry, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for block in entry.blocks():
                file.write(block)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ArchiveError(f"{entry.name!r} in {archive} has the place of another member") from error


def expand_gzip(archive: Path, path: Path, max_bytes: int) -> Path:
    """Expand a gzip file to a file that is there whole or not at all.

    Raises:
        ArchiveError: If it is not whole, or expands to more than `max_bytes`.
        OSError: If it cannot be written.
    """
    with whole_file(path) as file:
        for block in _gzip_blocks(archive, max_bytes):
            file.write(block)
    return path


def _gzip_blocks(archive: Path, max_bytes: int) -> Iterator[bytes]:
    count = 0
    try:
        with gzip.open(archive) as stream:
            while block := stream.read(BLOCK):
                count += len(block)
                if count > max_bytes:
                    raise ArchiveError(f"{archive} would expand to more than {max_bytes:,} bytes")
                yield block
    except ArchiveError:
        raise
    except Exception as error:  # zlib, gzip and the file system have their own
        raise ArchiveError(f"{archive} is not a whole gzip file: {error}") from error
