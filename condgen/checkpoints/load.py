"""Safe loading of any model from a file: a checkpoint is data, never code."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import LightningArgumentParser

from condgen.models import GenerativeModel


class CheckpointError(ValueError):
    """A file that cannot be loaded as a condgen checkpoint."""


def find_checkpoint(path: str | Path) -> Path:
    """Return the checkpoint file of a path that is a file, or a run's folder.

    Raises:
        CheckpointError: If there is none, or `path` is an address.
    """
    if "://" in str(path):
        raise CheckpointError(f"checkpoint {path} is an address; download the file yourself and give its path")
    path = Path(path)
    if path.is_dir():
        file = path / "checkpoints" / "last.ckpt"
        if not file.is_file():
            raise CheckpointError(f"run folder {path} has no checkpoints/last.ckpt")
        return file
    if not path.is_file():
        raise CheckpointError(f"no checkpoint {path}")
    return path


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint as plain data (`weights_only`); nothing in it is executed.

    Raises:
        CheckpointError: If it is missing, damaged, holds code, or was not written by condgen.
    """
    file = find_checkpoint(path)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, zipfile and pickle each raise their own
        raise CheckpointError(f"{file} is not a checkpoint, or is damaged, or holds code: nothing was run") from error
    if not isinstance(content, dict) or not isinstance(content.get("condgen"), dict):
        raise CheckpointError(f"{file} was not written by condgen")
    if content["condgen"].get("format") != 1:
        raise CheckpointError(f"{file} has format {content['condgen'].get('format')}; this version reads format 1")
    return content


def load_model(path: str | Path, *, trusted: Sequence[str] = ()) -> GenerativeModel:
    """Load a generative model for sampling, on the CPU, in evaluation mode.

    Args:
        path: A checkpoint file, or a run's folder for its last checkpoint.
        trusted: Packages beside condgen and torch that the checkpoint's classes may be imported from.

    Raises:
        CheckpointError: If it cannot be loaded.
    """
    content = read_checkpoint(path)
    spec = {"class_path": content["condgen"]["class_path"], "init_args": content["hyper_parameters"]}
    for name in class_paths(spec):
        if name.split(".")[0] not in ("condgen", "torch", *trusted):
            raise CheckpointError(f"{path} uses the class {name}; allow it with trusted={[name.split('.')[0]]}")
    try:
        import_module(spec["class_path"].rpartition(".")[0])
        parser = LightningArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(GenerativeModel, "model", fail_untyped=False)
        model = parser.instantiate(parser.parse_object({"model": spec})).model
        model.on_load_checkpoint(content)
        model.load_state_dict(content["state_dict"])
    except Exception as error:
        raise CheckpointError(f"{path} does not fit {spec['class_path']}: {error}".splitlines()[0]) from error
    assert isinstance(model, GenerativeModel)
    return model.eval()


def class_paths(value: Any) -> list[str]:
    """List every `class_path` inside plain values."""
    if isinstance(value, dict):
        own = [str(value["class_path"])] if "class_path" in value else []
        return own + [name for item in value.values() for name in class_paths(item)]
    if isinstance(value, list | tuple):
        return [name for item in value for name in class_paths(item)]
    return []
