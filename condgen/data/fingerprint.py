"""What identifies a set of images: a hash of the files it comes from, or of its own pixels and conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

from torch import Tensor

from condgen.data.images import ImageSet
from condgen.heartbeat import heart


def hash_files(paths: Iterable[Path], *settings: object) -> str:
    """Hash names and contents of files, in their folders, and whatever else decides which images are made of them."""
    digest = blake2b(repr(settings).encode(), digest_size=16)
    for path in paths:
        digest.update(f"{path.parent.name}/{path.name}".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                heart.beat()
                digest.update(block)
    return digest.hexdigest()


def hash_images(images: ImageSet) -> str:
    """Hash pixels and conditions."""
    return hash_values([], {"pixels": images.pixels, **dict(sorted(images.cond.items()))})


def hash_values(settings: list[object], values: Mapping[str, Tensor]) -> str:
    """Hash tensors with their names, and whatever else decides."""
    digest = blake2b(repr(settings).encode() if settings else b"", digest_size=16)
    for name, value in values.items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
