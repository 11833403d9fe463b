"""Files of published weights: found, or downloaded, and always checked by their hash."""

from __future__ import annotations

import os
from hashlib import file_digest
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

TIMEOUT = 30
BLOCK = 1 << 20


def sha256_of(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def check_weights(path: Path, sha256: str) -> Path:
    """Return the path of a file if its hash is the one that is due.

    Raises:
        ValueError: If there is no such file, or it is another one.
    """
    if not path.is_file():
        raise ValueError(f"no weights file {path}")
    if (found := sha256_of(path)) != sha256:
        raise ValueError(f"{path} is not the file that is due: its SHA-256 is {found}, not {sha256}")
    return path


def download_weights(url: str, path: Path, sha256: str) -> Path:
    """Download a file unless it is there, through a `.part` file, so that it is there whole or not at all.

    Raises:
        OSError: If it cannot be reached or written.
        ValueError: If what came is not the file that is due.
    """
    if path.is_file():
        return check_weights(path, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with urlopen(url, timeout=TIMEOUT) as source, part.open("wb") as file:
            while block := source.read(BLOCK):
                file.write(block)
        check_weights(part, sha256)
        os.replace(part, path)
    except URLError as error:
        raise OSError(f"{url} cannot be reached: {error.reason}") from error
    finally:
        part.unlink(missing_ok=True)
    return path
