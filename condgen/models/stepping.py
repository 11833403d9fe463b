"""Lightning's step counter and accumulation windows under manual optimisation."""

from __future__ import annotations

import os
from functools import partial
from itertools import count
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer

STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
"""Hooks of callbacks that are called at each step, or for each optimizer of it."""


def count_batch(trainer: L.Trainer, *optimizers: LightningOptimizer) -> None:
    """Advance `trainer.global_step` by one for this batch, however many optimizer steps it takes.

    Lightning advances it at each step of each optimizer, so with two of them `max_steps` would stop at half the
    batches. It sets these private hooks again at every batch; a test holds global_step to the number of batches.
    """
    profiler = cast(Any, trainer).profiler
    for optimizer in optimizers:
        optimizer._on_before_step = partial(profiler.start, "optimizer_step")
        optimizer._on_after_step = partial(profiler.stop, "optimizer_step")
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    progress.increment_ready()
    progress.increment_completed()


def window_ends(trainer: L.Trainer, batch: int, size: int) -> bool:
    """Tell whether batch number `batch` is the last of its accumulation window; windows end with the epoch."""
    per_epoch = trainer.num_training_batches
    place = batch % int(per_epoch) if per_epoch < float("inf") else batch
    return (place + 1) % size == 0 or place + 1 == per_epoch


def refuse_cut_window(trainer: L.Trainer, size: int) -> None:
    """Refuse an end of training within an accumulation window of `size` batches, naming the next end of one."""
    last = trainer.max_steps
    if last > 0 and not window_ends(trainer, last - 1, size):
        good = next(batch for batch in count(last) if window_ends(trainer, batch - 1, size))
        raise ValueError(f"trainer.max_steps {last} is within a window of accumulate_grad_batches={size}; use {good}")


def refuse_fused_clipping(trainer: L.Trainer, clip: float | None, option: str) -> None:
    """Refuse to clip gradients that a fused optimizer has yet to unscale.

    Args:
        trainer: The trainer, with its optimizers.
        clip: Largest gradient norm; null or 0 for no clipping.
        option: What the user set it by.
    """
    fused = any(getattr(optimizer, "_step_supports_amp_scaling", False) for optimizer in trainer.optimizers)
    if clip and fused and trainer.precision == "16-mixed":
        raise ValueError(f"{option} with precision 16-mixed needs optimizers with fused: false")


def refuse_unfit_state(optimizer: Optimizer) -> None:
    """Refuse a state that does not fit a fused optimizer's parameters, by whose sizes its kernels write memory."""
    dense = torch.ops.aten.is_non_overlapping_and_dense
    for group in optimizer.param_groups:
        for parameter in group["params"] if group.get("fused") else ():
            for name, value in optimizer.state.get(parameter, {}).items():
                shape = torch.Size() if name == "step" else parameter.shape
                if isinstance(value, Tensor) and (value.shape != shape or not dense(value)):
                    raise ValueError(f"the checkpoint is damaged: an optimizer's {name} does not fit its parameter")


def refuse_scaled_windows(trainer: L.Trainer, size: int) -> None:
    """Refuse accumulation over `size` batches by two players under a loss scaler.

    One player's step may change the scale of which the other's gradients of earlier batches have the old value.
    """
    if size > 1 and trainer.precision == "16-mixed":
        raise ValueError(
            f"model.accumulate_grad_batches {size} with trainer.precision 16-mixed: the loss scale may change within a "
            "window; use bf16-mixed or 32-true"
        )


def skip_empty_hooks(trainer: L.Trainer) -> None:
    """Let no step wait for hooks in which callbacks do nothing, of which Lightning calls a hundred or so.

    It passes over a hook that cannot be called, and gives any other a context of the profiler, empty or not.
    """
    for callback in cast(Any, trainer).callbacks:
        for name in STEP_HOOKS:
            if getattr(type(callback), name) is getattr(L.Callback, name):
                callback.__dict__.setdefault(name, None)


def ask_runtime_for_gpus() -> None:
    """Where there is no GPU, let torch ask the CUDA runtime for one, not the driver.

    Optimizers ask at every step. Lightning makes them open the driver's library for it, so that processes can be forked
    although there is a GPU; where there is no library, each search for it takes longer than a step of a small net.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
