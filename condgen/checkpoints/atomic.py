"""Checkpoints that are written whole, or not at all, with a hash of their content."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor

from condgen.checkpoints.load import load_sealed
from condgen.checkpoints.sealed import SealedWriter
from condgen.whole import sweep, whole_file


class AtomicCheckpointIO(CheckpointIO):
    """Writes a checkpoint beside its target, makes sure that it is on the disk, and then gives it its name.

    So at each moment the name stands for the old checkpoint or for the new one. Whatever a killed process left behind
    is removed by the next save; a run's folder belongs to one process at a time.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: Saying how many bytes are needed, and how many are free; what was there before is untouched.
        """
        if storage_options is not None:
            raise TypeError("condgen's checkpoints take no storage_options")
        path = Path(path)
        sweep(path.parent, age=0.0)
        try:
            write_sealed(checkpoint, path)
        except OSError as error:
            need = sum(tensor.nbytes for tensor in tensors(checkpoint))
            raise OSError(f"{error}; it needs about {need:,} bytes, and {free_bytes(path)}") from error

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read a checkpoint as data, after a look at its hash; `weights_only` is always true."""
        return load_sealed(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint that is there."""
        Path(path).unlink(missing_ok=True)


def write_sealed(content: dict[str, Any], path: Path) -> None:
    """Write what `torch.load` reads, with a seal."""
    with whole_file(path) as file:
        writer = SealedWriter(file)
        try:
            torch.save(content, writer)  # type: ignore[arg-type]
        except RuntimeError:
            if writer.error is not None:
                raise writer.error from None
            raise
        writer.seal()


def tensors(value: Any) -> Iterator[Tensor]:
    """Find all tensors in dicts and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors(item)


def free_bytes(path: Path) -> str:
    """Say how much room there is where a file was to be written."""
    folder = next(parent for parent in path.absolute().parents if parent.is_dir())
    writable = "" if os.access(folder, os.W_OK) else f", but {folder} is read-only"
    return f"{shutil.disk_usage(folder).free:,} are free{writable}"
