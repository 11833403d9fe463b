"""Image sets of other programs, by their path."""

from __future__ import annotations

from pathlib import Path

from condgen.data.array_images import ArrayImages
from condgen.data.decode import SUFFIXES
from condgen.data.folder_images import FolderImages
from condgen.data.sources import ImageSource


def open_images(path: Path | str, *, skip_damaged: bool = False) -> ImageSource:
    """Open a folder of images, or a `.npz` or `.npy` file of uint8 images; nothing is decoded yet.

    Args:
        path: The folder, whose class subfolders are labels, or the file.
        skip_damaged: Leave damaged image files out; they are an error otherwise.

    Raises:
        ValueError: If it is neither, or holds no images.
    """
    path = Path(path)
    if path.is_dir():
        return FolderImages(path, skip_damaged)
    if not path.exists():
        raise ValueError(f"no file or folder {path}")
    if path.suffix in (".npy", ".npz"):
        return ArrayImages(path)
    what = "is one image; give its folder" if path.suffix.lower() in SUFFIXES else f"ends in {path.suffix or 'nothing'}"
    raise ValueError(f"{path} {what}; images come as a folder, .npz or .npy")
