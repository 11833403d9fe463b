"""The precision that a run trains in where its config leaves it open."""

from __future__ import annotations

import torch
from jsonargparse import Namespace

from condgen.capabilities import fast_bfloat16

FULL, HALF = "32-true", "bf16-mixed"


def choose_precision(trainer: Namespace) -> str | None:
    """Fill in the trainer's precision where none is given, and return why; null if it was given.

    Where the device has fast bfloat16, products and convolutions of training are computed in it, and weights, losses,
    averages and samples stay in float32. What was chosen is part of the run's `config.yaml`, and so of a resumed run.
    """
    if trainer.precision is not None or trainer.plugins:
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
