"""Data sets that torchvision downloads: files that are missing are told from files that are damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def open_published(open_files: Callable[[], Any], name: str, folder: Path, download: bool) -> Any:
    """Open a data set of torchvision's.

    Args:
        open_files: Opens it, downloading it first if `download` is set.
        name: What the data set is called.
        folder: Where its files are, or shall be.
        download: Whether `open_files` may download.

    Raises:
        ValueError: If files are there, but damaged.
        FileNotFoundError: If there are none.
    """
    try:
        return open_files()
    except (AssertionError, RuntimeError, ValueError, KeyError, TypeError, EOFError, OSError) as error:
        remove_empty(folder)
        if folder.is_dir():
            raise ValueError(f"{name} in {folder} is damaged: {error}; delete it and download it again") from error
        remedy = "; downloading failed" if download else ", or data.download to true"
        raise FileNotFoundError(f"no {name} in {folder}; set data.root to a folder that holds it{remedy}") from error


def remove_empty(folder: Path) -> None:
    """Remove the empty folders that a failed download leaves."""
    for path in (folder, folder.parent):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
