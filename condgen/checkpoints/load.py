"""Safe loading of any model from a file: a checkpoint is data, never code."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from condgen.checkpoints.export import SUFFIX, WEIGHTS, ExportError, is_export, load_sampling_weights, read_export
from condgen.checkpoints.sealed import check_seal
from condgen.models import GenerativeModel
from condgen.models.plain import from_plain
from condgen.models.recorded import FORMAT
from condgen.trust import CHECKPOINT_PACKAGES, UntrustedError, import_class


class CheckpointError(ValueError):
    """A file that cannot be loaded as a condgen checkpoint."""


def find_checkpoint(path: str | Path) -> Path:
    """Return the checkpoint file of a path: a file, a run's folder, a folder of runs, or that of an exported model.

    Raises:
        CheckpointError: If there is none, or `path` is an address.
    """
    if "://" in str(path):
        raise CheckpointError(f"checkpoint {path} is an address; download the file yourself and give its path")
    path = newest_run(path)
    if path.is_dir():
        return path / WEIGHTS if not saved(path) and (path / WEIGHTS).is_file() else newest_good(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint {path}")
    return path


def newest_run(path: str | Path) -> Path:
    """Return the newest run with a checkpoint in a folder of runs, such as `runs/NAME`, and say which; else `path`."""
    path = Path(path)
    if saved(path) or (path / WEIGHTS).is_file():
        return path
    runs = [folder for folder in path.glob("*/") if saved(folder)]
    if not runs:
        return path
    newest = max(runs, key=lambda folder: folder.name)
    say(f"{path} is taken for its newest run, {newest.name}")
    return newest


def saved(run: Path) -> bool:
    """Tell whether a run's folder has a checkpoint."""
    return any((run / "checkpoints").glob("*.ckpt"))


def newest_good(run: Path) -> Path:
    """Return a run's last checkpoint or, if that is damaged, the newest other one that is not, and say so.

    Raises:
        CheckpointError: If the run has none, or none that is whole.
    """
    last = run / "checkpoints" / "last.ckpt"
    others = sorted(last.parent.glob("images=*.ckpt"), reverse=True)
    if not last.is_file() and not others:
        raise CheckpointError(f"run folder {run} has no checkpoints/last.ckpt")
    what = ""
    for file in (last, *others):
        found = damage(file)
        if not found:
            if what:
                say(f"warning: {last} is damaged: {what}; {file.name} is taken in its place")
            return file
        what = what or found
    raise CheckpointError(f"{last} is damaged: {what}; the run has no other checkpoint that is whole")


@cache
def say(line: str) -> None:
    """Say something once."""
    print(line)


def damage(file: Path) -> str:
    """Say what is wrong with a file's bytes; nothing if they are as they were written."""
    try:
        check_seal(file)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def load_sealed(file: Path) -> Any:
    """Read a file as plain data, after a look at its hash.

    Raises:
        CheckpointError: If it is damaged, or holds code.
    """
    try:
        check_seal(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, zipfile and pickle each raise their own
        reason = f": {error}" if type(error) is ValueError else ""
        raise CheckpointError(
            f"{file} is not a checkpoint, or is damaged, or holds code: nothing was run{reason}"
        ) from error


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint as plain data (`weights_only`); nothing in it is executed.

    Raises:
        CheckpointError: If it is missing, damaged, holds code, or was not written by condgen.
    """
    file = find_checkpoint(path)
    content = read_exported(file) if file.suffix == SUFFIX else read_saved(file)
    card = content["condgen"]
    written = card.get("format")
    if type(written) is not int or written != FORMAT:
        raise CheckpointError(f"{file} has format {str(written)[:20]!r}; this version reads format {FORMAT}")
    parts = (card.get("progress"), content.get("hyper_parameters"), content.get("state_dict"))
    if not isinstance(card.get("class_path"), str) or not all(isinstance(part, dict) for part in parts):
        raise CheckpointError(f"{file} is damaged: its class, arguments, progress or weights are missing")
    if not all(isinstance(count, int) for count in card["progress"].values()):
        raise CheckpointError(f"{file} is damaged: its progress is {str(card['progress'])[:100]}, not counts")
    return content


def read_exported(file: Path) -> dict[str, Any]:
    """Read what `condgen export` wrote."""
    try:
        return read_export(file)
    except ExportError as error:
        raise CheckpointError(str(error)) from error


def read_saved(file: Path) -> dict[str, Any]:
    """Read what training wrote."""
    content = load_sealed(file)
    if not isinstance(content, dict) or not isinstance(content.get("condgen"), dict):
        raise CheckpointError(f"{file} was not written by condgen")
    return content


def load_model(path: str | Path, *, trusted: Sequence[str] = ()) -> GenerativeModel:
    """Load a generative model for sampling, on the CPU, in evaluation mode.

    Args:
        path: A checkpoint file, a run's folder for its last checkpoint, or what `condgen export` wrote.
        trusted: Packages beside `condgen.trust.CHECKPOINT_PACKAGES` that the checkpoint's classes may come from.

    Raises:
        CheckpointError: If it cannot be loaded.
    """
    return build_model(read_checkpoint(path), path, trusted=trusted)


def build_model(content: dict[str, Any], path: str | Path, *, trusted: Sequence[str] = ()) -> GenerativeModel:
    """Build the model of a checkpoint that was read from `path`; all else is as in `load_model`."""
    try:
        cls = import_class(content["condgen"]["class_path"], CHECKPOINT_PACKAGES, trusted)
        if not issubclass(cls, GenerativeModel):
            raise ValueError(f"holds a {cls.__name__}, which does not generate images")
        card = {key: value for key, value in content["condgen"]["sampler"].items() if key != "half"}
        how = {"sample_chunk": card.pop("chunk")} | ({"sampler": from_plain(card, trusted)} if card else {})
        model = cls(**from_plain(content["hyper_parameters"], trusted), **how)
        restore(model, content)
    except Exception as error:  # a file can be wrong in any way
        package = error.package if isinstance(error, UntrustedError) else None
        hint = f", or load_model(..., trusted=[{package!r}])" if package else ""
        raise CheckpointError(f"{path} cannot be loaded: {' '.join(str(error).split())[:300]}{hint}") from error
    return model.eval()


def restore(model: GenerativeModel, content: dict[str, Any]) -> None:
    """Give a model what was read: its counters and weights.

    Raises:
        ValueError: If it was read from another kind of model.
        RuntimeError: If the weights do not fit.
    """
    model.on_load_checkpoint(content)
    if is_export(content):
        load_sampling_weights(model, content["state_dict"], averaged=content["condgen"]["averaged"])
    else:
        model.load_state_dict(content["state_dict"])
