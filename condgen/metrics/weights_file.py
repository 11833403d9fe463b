"""Files of published weights, always checked by their hash."""

from __future__ import annotations

from hashlib import file_digest
from pathlib import Path


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
