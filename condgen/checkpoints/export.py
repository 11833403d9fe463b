"""Models to share: the weights that sample as safetensors, and in their header all that builds the model again.

A file is the whole; a folder holds it as `model.safetensors` beside `config.json`, which repeats the header, as
`huggingface_hub.PyTorchModelHubMixin` lays models out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from condgen import __version__
from condgen.models import GenerativeModel
from condgen.models.recorded import FORMAT
from condgen.models.weights_hash import weights_hash
from condgen.whole import whole_file

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
SUFFIX = ".safetensors"
PARTS = {"init_args": dict, "sampler": dict, "progress": dict, "class_path": str, "averaged": bool}
"""What a header must have, and of which type."""


class ExportError(ValueError):
    """A safetensors file that is not a model exported by condgen, or is not as it was written."""


def card_of(model: GenerativeModel, class_path: str, training: Mapping[str, Any] | None) -> dict[str, Any]:
    """Describe a model, in plain values: how to build it, how to sample it, and what its weights are.

    Args:
        model: A loaded model.
        class_path: Its class, as its checkpoint names it.
        training: What the callback `TrainingTime` left in the checkpoint.
    """
    sampling = ("sampler", "sample_chunk")
    return {
        "format": FORMAT,
        "version": __version__,
        "class_path": class_path,
        "init_args": {key: value for key, value in model.init_args.items() if key not in sampling},
        "sampler": model.sampler_card,
        "progress": model.progress(),
        "averaged": model.averaged,
        "weights_sha256": weights_hash(model),
        "training": dict(training) if training else None,
    }


def write_export(model: GenerativeModel, card: Mapping[str, Any], file: Path) -> None:
    """Write the weights that sample, averaged where there are averages, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    state = model.sampling_net.state_dict()
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    text = json.dumps(card, sort_keys=True)
    metadata = {"format": "pt", "condgen": text, "sha256": content_hash(text, tensors)}
    with whole_file(file) as out:
        out.write(save_tensors(tensors, metadata=metadata))


def read_export(file: Path) -> dict[str, Any]:
    """Read an exported model in the form of a checkpoint, whose `state_dict` is that of the net that samples.

    Raises:
        ExportError: If it is none, or was changed since it was written.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError, ValueError, RuntimeError, TypeError) as error:
        raise ExportError(f"{file} is no safetensors file, or is damaged: {' '.join(str(error).split())}") from error
    text = metadata.get("condgen", "")
    card = parsed(text)
    if "net" in card and "class_path" not in card:
        raise ExportError(f"{file} is a classifier, which generates no images")
    if any(not isinstance(card.get(name), kind) for name, kind in PARTS.items()):
        raise ExportError(f"{file} was not written by condgen export")
    if metadata.get("sha256") != content_hash(text, tensors):
        raise ExportError(f"{file} is not as it was written: its header or its weights were changed")
    beside = file.with_name(CONFIG)
    if file.name == WEIGHTS and beside.is_file() and parsed(beside.read_text(errors="replace")) != card:
        raise ExportError(f"{beside} is not what {file.name} says")
    kept = {name: card[name] for name in ("format", "version", "class_path", "progress", "sampler") if name in card}
    return {
        "condgen": {**kept, "averaged": card["averaged"]},
        "hyper_parameters": card["init_args"],
        "state_dict": tensors,
        "callbacks": {"TrainingTime": card.get("training")},
    }


def load_sampling_weights(model: GenerativeModel, weights: dict[str, Tensor], *, averaged: bool) -> None:
    """Let a model sample with exported weights, and go on from them if it is trained further.

    Args:
        model: A model of the same arguments.
        weights: As `sampling_net.state_dict()` has them.
        averaged: Whether they are an average over training.

    Raises:
        ValueError: If they are, and the model keeps no average.
        RuntimeError: If they do not fit.
    """
    model.trained_net.load_state_dict(weights)
    if not averaged:
        model.ema = None
    elif model.ema is None:
        raise ValueError("the weights are averaged, and the model's arguments say that it keeps no average")
    else:
        model.ema.net.load_state_dict(weights)
        model.raw_lost = True


def is_export(content: Mapping[str, Any]) -> bool:
    """Tell whether what was read is an export, which holds what sampling needs alone."""
    return "averaged" in content["condgen"]


def parsed(text: str) -> dict[str, Any]:
    """Read JSON that should be a mapping; anything else is empty."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def content_hash(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Hash a header and the tensors that go with it: names, types, shapes and values."""
    digest = sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
