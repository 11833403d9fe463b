"""Trainer flags that condgen answers for, refuses, or completes."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import lightning as L
import torch
from jsonargparse import Namespace
from lightning.fabric.plugins import CheckpointIO

from condgen.checkpoints import AtomicCheckpointIO
from condgen.cli.errors import UserError
from condgen.cli.explain import shortened
from condgen.cli.files import is_first_process, job
from condgen.models import AdversarialModel


def strategy_for(model: L.LightningModule, trainer: Namespace) -> str:
    """Choose the strategy of several processes, and say which.

    Where two optimizers take turns, each turn leaves the other player's parameters unused.
    """
    if num_devices(trainer) * trainer.num_nodes == 1:
        return "auto"
    if model.automatic_optimization:
        chosen, why = "ddp", "there is one loss"
    else:
        chosen, why = "ddp_find_unused_parameters_true", "two optimizers take turns"
    if is_first_process():
        print(f"strategy: {chosen}, because {why}")
    return chosen


MOST_DEVICES = 1024
"""Of one machine; Lightning makes a list of them."""


def num_devices(trainer: Namespace) -> int:
    """Return how many devices of one machine the trainer's flags ask for."""
    devices = trainer.devices
    if devices in ("auto", -1, "-1"):
        return max(1, torch.cuda.device_count()) if trainer.accelerator in ("auto", "gpu", "cuda") else 1
    if isinstance(devices, str):
        parts = [part for part in devices.split(",") if part]
        if not all(part.strip().isdecimal() and len(part) < 10 for part in parts):
            given = shortened(repr(devices))
            raise UserError(f"trainer.devices must be a number, a list of numbers, or auto, got {given}")
        devices = parts if "," in devices else int(devices)
    count = len(devices) if isinstance(devices, list) else int(devices)
    if count > MOST_DEVICES:
        raise UserError(f"trainer.devices must be at most {MOST_DEVICES}, got {count}")
    return count


def check_trainer(model: L.LightningModule, trainer: Namespace) -> None:
    """Refuse trainer flags that would be ignored, or that manual optimisation replaces, naming what to use."""
    if trainer.logger is False:
        raise UserError("trainer.logger cannot be false: each run writes metrics.csv; leave it out")
    if trainer.overfit_batches:
        raise UserError("trainer.overfit_batches has no effect on condgen's loader")
    if trainer.val_check_interval == 0:
        raise UserError("trainer.val_check_interval must be above 0, got 0; for none set trainer.limit_val_batches 0")
    if trainer.default_root_dir is not None:
        raise UserError("trainer.default_root_dir is the run's own folder; choose it with --runs and --name")
    if trainer.precision in ("16-true", "bf16-true"):
        raise UserError(
            f"trainer.precision {trainer.precision} keeps the weights in half precision, in which averages and small "
            f"steps are lost; use {trainer.precision.replace('true', 'mixed')}"
        )
    if trainer.precision in ("64", "64-true"):
        raise UserError(f"trainer.precision {trainer.precision}: images and conditions are float32; use 32-true")
    if trainer.profiler == "xla" and find_spec("torch_xla") is None:
        raise UserError("trainer.profiler xla needs the package torch_xla, which is not installed")
    check_launched(num_devices(trainer), trainer.num_nodes)
    if isinstance(model, AdversarialModel):
        if trainer.gradient_clip_val is not None:
            raise UserError("trainer.gradient_clip_val does not work with two players; use model.gradient_clip_val")
        if trainer.accumulate_grad_batches != 1:
            raise UserError(
                "trainer.accumulate_grad_batches does not work with two players; use model.accumulate_grad_batches"
            )


def check_optimizers(model: L.LightningModule) -> None:
    """Refuse settings of optimizers that are out of range, before anything begins.

    Raises:
        ValueError: Naming the option.
    """
    with suppress(RuntimeError):  # a model of one's own may ask the trainer, which is not there yet
        model.configure_optimizers()


def check_launched(devices: int, nodes: int) -> None:
    """Refuse to be another number of processes than were started, of which each would train alone.

    Raises:
        UserError: Saying what to give.
    """
    torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    if not torchrun and not job():
        return
    by, started = ("torchrun", os.environ["WORLD_SIZE"]) if torchrun else ("SLURM", os.environ["SLURM_NTASKS"])
    if by == "SLURM" and int(started) > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise UserError(f"SLURM has started {started} tasks by --ntasks; use --ntasks-per-node, one for each device")
    if int(started) != devices * nodes:
        raise UserError(
            f"{by} has started {started} processes, not {devices * nodes}: trainer.devices (now {devices}) are those "
            f"of each machine, and trainer.num_nodes (now {nodes}) are the machines"
        )


def check_sync(trainer: Namespace, device: torch.device) -> None:
    """Refuse batch norm over all processes where torch cannot do it.

    Raises:
        UserError: Naming the device.
    """
    if trainer.sync_batchnorm and device.type != "cuda":
        raise UserError(f"trainer.sync_batchnorm needs CUDA devices, and this run is on {device.type}; leave it out")


def with_atomic_saves(plugins: Any) -> list[Any]:
    """Add condgen's way of writing checkpoints to the trainer's plugins, unless there is one already."""
    given = plugins if isinstance(plugins, list) else [] if plugins is None else [plugins]
    return given if any(isinstance(plugin, CheckpointIO) for plugin in given) else [*given, AtomicCheckpointIO()]
