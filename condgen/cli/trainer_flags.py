"""Trainer flags that condgen answers for, refuses, or completes."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from jsonargparse import Namespace
from lightning.fabric.plugins import CheckpointIO

from condgen.checkpoints import AtomicCheckpointIO
from condgen.cli.errors import UserError
from condgen.cli.files import is_first_process
from condgen.models import AdversarialModel


def strategy_for(trainer: Namespace) -> str:
    """Choose the strategy for manual optimisation: players leave each other's parameters unused in their turns."""
    if num_devices(trainer) * trainer.num_nodes == 1:
        return "auto"
    if is_first_process():
        print("strategy: ddp_find_unused_parameters_true, because two optimizers take turns")
    return "ddp_find_unused_parameters_true"


def num_devices(trainer: Namespace) -> int:
    """Return how many devices of one machine the trainer's flags ask for."""
    devices = trainer.devices
    if devices in ("auto", -1, "-1"):
        return max(1, torch.cuda.device_count()) if trainer.accelerator in ("auto", "gpu", "cuda") else 1
    if isinstance(devices, str):
        parts = [part for part in devices.split(",") if part]
        if not all(part.strip().isdecimal() for part in parts):
            raise UserError(f"trainer.devices must be a number, a list of numbers, or auto, got {devices!r}")
        devices = parts if "," in devices else int(devices)
    return len(devices) if isinstance(devices, list) else int(devices)


def check_trainer(model: L.LightningModule, trainer: Namespace) -> None:
    """Refuse trainer flags that would be ignored, or that manual optimisation replaces, naming what to use."""
    if trainer.logger is False:
        raise UserError("trainer.logger cannot be false: each run writes metrics.csv; leave it out")
    if trainer.overfit_batches:
        raise UserError("trainer.overfit_batches has no effect on condgen's loader")
    if trainer.default_root_dir is not None:
        raise UserError("trainer.default_root_dir is the run's own folder; choose it with --runs and --name")
    if trainer.precision in ("16-true", "bf16-true"):
        raise UserError(
            f"trainer.precision {trainer.precision} keeps the weights in half precision, in which averages and small "
            f"steps are lost; use {trainer.precision.replace('true', 'mixed')}"
        )
    if isinstance(model, AdversarialModel):
        if trainer.gradient_clip_val is not None:
            raise UserError("trainer.gradient_clip_val does not work with two players; use model.gradient_clip_val")
        if trainer.accumulate_grad_batches != 1:
            raise UserError(
                "trainer.accumulate_grad_batches does not work with two players; use model.accumulate_grad_batches"
            )


def with_atomic_saves(plugins: Any) -> list[Any]:
    """Add condgen's way of writing checkpoints to the trainer's plugins, unless there is one already."""
    given = plugins if isinstance(plugins, list) else [] if plugins is None else [plugins]
    return given if any(isinstance(plugin, CheckpointIO) for plugin in given) else [*given, AtomicCheckpointIO()]
