"""Signals that ask a run to leave, or to be queued again, agreed on by all its processes."""

from __future__ import annotations

import os
import subprocess
from typing import Any, NamedTuple, cast

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from condgen.interrupts import interrupts

EVERY = 10
"""Batches between two agreements of processes on GPUs."""


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


def is_time_to_ask(trainer: L.Trainer, batch: int) -> bool:
    """Tell whether the processes agree after this batch; several on GPUs, which would wait for it, do so at times."""
    return trainer.world_size == 1 or trainer.strategy.root_device.type == "cpu" or batch % EVERY == 0


def asked_of(trainer: L.Trainer) -> Asked:
    """Return what any of the processes was asked for; all must call this at the same time."""
    if trainer.world_size == 1:
        return Asked(interrupts.received or 0, interrupts.requeue)
    asked = torch.tensor([interrupts.received or 0, int(interrupts.requeue)], device=trainer.strategy.root_device)
    torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
    signum, requeue = asked.tolist()
    return Asked(signum, bool(requeue))


def answer(trainer: L.Trainer, asked: Asked) -> None:
    """Have the job queued again, or leave: between two batches, when all is saved."""
    if asked.requeue:
        interrupts.requeue = False
        if trainer.is_global_zero:
            queue_again()
    if asked.signum:
        interrupts.received = interrupts.received or asked.signum
        interrupts.release()


def queue_again() -> None:
    """Let SLURM start this job once more when it ends; `condgen fit` then goes on in the folder of the job."""
    number, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    job = f"{number}_{task}" if number else os.environ["SLURM_JOB_ID"]
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    print(
        f"job {job} {'is queued again' if done.returncode == 0 else f'cannot be queued again: {done.stderr.strip()}'}"
    )
