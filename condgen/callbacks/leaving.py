"""Signals that ask a run to leave, or to be queued again, agreed on by all its processes."""

from __future__ import annotations

import signal
from typing import Any, NamedTuple, cast

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from condgen.interrupts import interrupts


class Asked(NamedTuple):
    """What a run is asked for: a signal's number or 0, and whether its job shall be queued again."""

    signum: int
    requeue: bool


def hold_signals(trainer: L.Trainer) -> None:
    """Let signals wait, those too that Lightning's own handlers would answer in the middle of a step."""
    cluster = cast(Any, trainer)._accelerator_connector.cluster_environment
    slurm = isinstance(cluster, SLURMEnvironment) and cluster.auto_requeue
    interrupts.take(cluster.requeue_signal if slurm else None)
    interrupts.hold()


def asked_of(trainer: L.Trainer) -> Asked:
    """Return what any of the processes was asked for; all must call this at the same time."""
    asked = torch.tensor([interrupts.received or 0, int(interrupts.requeue)])
    if trainer.world_size > 1:
        asked = asked.to(trainer.strategy.root_device)
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
    signum, requeue = asked.tolist()
    return Asked(signum, bool(requeue))


def answer(trainer: L.Trainer, asked: Asked) -> None:
    """Have the job queued again, or leave: between two batches, when all is saved."""
    if asked.requeue:
        interrupts.requeue = False
        cast(Any, trainer)._signal_connector._slurm_sigusr_handler_fn(signal.SIGUSR1, None)
    if asked.signum:
        interrupts.received = interrupts.received or asked.signum
        interrupts.release()
