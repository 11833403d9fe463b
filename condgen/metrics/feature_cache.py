"""Features and scores that are kept on disk by the content that they were made from, so that they are made once."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from condgen.cache_root import cache_root
from condgen.metrics.base import Features
from condgen.whole import whole_file

FORMAT = 1
"""Changes with what a file holds, so that files of another version are never read."""
T = TypeVar("T")


class CacheWarning(UserWarning):
    """A file of the cache could not be read or written; the work goes on without it."""


class FeatureCache:
    """One file per key; each holds its key and a checksum, so a damaged or foreign file is removed and made again.

    Args:
        root: Folder of the files, made when first needed; null for `features` in CONDGEN_CACHE or `~/.cache/condgen`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = cache_root() / "features" if root is None else root

    @staticmethod
    def key(**content: Any) -> str:
        """Hash plain values that say what a file's content is a function of, such as `images` and `extractor`."""
        text = json.dumps({"format": FORMAT, **content}, sort_keys=True)
        return sha256(text.encode()).hexdigest()

    @classmethod
    def split_key(cls, images: str, extractor: str, most: int | None = None) -> str:
        """Return the key of the features of a data module's split, or of `most` random images of it, by both hashes."""
        return cls.key(images=images, extractor=extractor, most=most)

    def load(self, key: str) -> Features | None:
        """Return the features kept under a key, on the CPU; None if there are none."""
        return self._load(self._features_file(key), lambda content: read_features(content, key))

    def save(self, key: str, features: Features) -> None:
        """Keep features (N, D) float32 and their labels; what cannot be written is only warned of."""
        self._save(self._features_file(key), lambda: write_features(features, key))

    def load_scores(self, key: str) -> dict[str, Any] | None:
        """Return plain values kept under a key; None if there are none."""
        return self._load(self._scores_file(key), lambda content: read_scores(content, key))

    def save_scores(self, key: str, scores: dict[str, Any]) -> None:
        """Keep plain values; what cannot be written is only warned of."""
        self._save(self._scores_file(key), lambda: write_scores(scores, key))

    def _features_file(self, key: str) -> Path:
        return self.root / f"{key}.safetensors"

    def _scores_file(self, key: str) -> Path:
        return self.root / f"{key}.json"

    def _load(self, path: Path, read: Callable[[bytes], T]) -> T | None:
        try:
            return read(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            warn(f"{path} cannot be read ({error.strerror}); it is made again")
        except (ValueError, KeyError, TypeError, SafetensorError):
            warn(f"{path} is damaged; it is made again")
            remove(path)
        return None

    def _save(self, path: Path, content: Callable[[], bytes]) -> None:
        try:
            with whole_file(path) as file:
                file.write(content())
        except OSError as error:
            warn(f"{error}; the evaluation goes on without it")


def write_features(features: Features, key: str) -> bytes:
    """Lay features out as a safetensors file with their key and checksum."""
    tensors = {"features": features.features} | ({} if features.label is None else {"label": features.label})
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    content: bytes = safetensors.save(tensors, metadata={"key": key, "sha256": checksum(tensors)})
    return content


def read_features(content: bytes, key: str) -> Features:
    """Read what `write_features` made.

    Raises:
        ValueError: If the content is not whole, or belongs to another key.
    """
    tensors = safetensors.load(content)
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    if metadata["key"] != key or metadata["sha256"] != checksum(tensors):
        raise ValueError("another key or checksum")
    return Features(tensors["features"], tensors.get("label"))


def write_scores(scores: dict[str, Any], key: str) -> bytes:
    """Lay plain values out as JSON with their key and checksum."""
    text = json.dumps(scores, sort_keys=True)
    return json.dumps({"key": key, "sha256": sha256(text.encode()).hexdigest(), "scores": scores}).encode()


def read_scores(content: bytes, key: str) -> dict[str, Any]:
    """Read what `write_scores` made.

    Raises:
        ValueError: If the content is not whole, or belongs to another key.
    """
    file = json.loads(content)
    scores: dict[str, Any] = file["scores"]
    text = json.dumps(scores, sort_keys=True)
    if file["key"] != key or file["sha256"] != sha256(text.encode()).hexdigest():
        raise ValueError("another key or checksum")
    return scores


def checksum(tensors: dict[str, Tensor]) -> str:
    """Hash names, types, shapes and values."""
    digest = sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def remove(path: Path) -> None:
    """Remove a file if it is there and can be removed."""
    with suppress(OSError):
        path.unlink()


def warn(text: str) -> None:
    """Warn in one line."""
    warnings.warn(f"cache: {text}", CacheWarning, stacklevel=2)
