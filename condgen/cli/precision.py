"""The precision that a run trains in where its config leaves it open."""

from __future__ import annotations

from pathlib import Path

import torch
from jsonargparse import Namespace

from condgen.capabilities import fast_bfloat16
from condgen.yaml_file import read_yaml

FULL, HALF = "32-true", "bf16-mixed"


def choose_precision(trainer: Namespace, resumed: Path | None) -> str | None:
    """Fill in the trainer's precision where none is given, and return why; null if it was given.

    Where the device has fast bfloat16, products and convolutions of training are computed in it, and weights, losses,
    averages and samples stay in float32. What was chosen is part of the run's `config.yaml`, by which it is resumed.

    Args:
        trainer: Its arguments.
        resumed: The folder of the run that goes on; null for a new one.
    """
    if trainer.precision is not None or trainer.plugins:
        return None
    if resumed is not None:
        trainer.precision = read_yaml(resumed / "config.yaml")["trainer"]["precision"]
        return None
    device = device_of(trainer.accelerator)
    reason = None if device is None else fast_bfloat16(device)
    trainer.precision = HALF if reason else FULL
    return reason or "no fast bfloat16 here"


def device_of(accelerator: object) -> str | None:
    """Return the kind of device that an accelerator's name means here; null if it is one of another kind."""
    gpu = "cuda" if torch.cuda.is_available() else None
    kinds = {"cpu": "cpu", "cuda": gpu, "gpu": gpu}
    if accelerator == "auto":
        other = torch.accelerator.is_available() and gpu is None
        return None if other else gpu or "cpu"
    return kinds.get(str(accelerator))
