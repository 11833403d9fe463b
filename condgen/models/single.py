"""Families that train one net by one loss, under Lightning's automatic optimisation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from condgen.models.base import GenerativeModel
from condgen.models.schedule import Schedule
from condgen.models.stepping import refuse_fused_clipping
from condgen.types import CondSpec, Shape

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


def optimizer_of(factory: OptimizerFactory, net: nn.Module, option: str) -> Optimizer:
    """Return the optimizer of a net.

    Args:
        factory: Makes it.
        net: What it trains.
        option: The model's argument that the factory was given by.

    Raises:
        ValueError: Naming the option, if one of the factory's settings is out of range.
    """
    try:
        return factory(net.parameters())
    except ValueError as error:
        raise ValueError(f"model.{option}: {error}") from error


class SingleLossModel(GenerativeModel):
    """A family whose `train_on` returns the loss of `trained_net`; clipping and accumulation are the Trainer's.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module.
        optimizer: Factory of the optimizer; null for fused Adam(1e-3).
        schedule: Factor of the learning rate as a function of images seen.
        sample_chunk: Images per net evaluation in `sample`; null for what the device is fast at.
    """

    def __init__(
        self,
        image_shape: Shape,
        cond_spec: CondSpec,
        *,
        optimizer: OptimizerFactory | None,
        schedule: Schedule | None,
        sample_chunk: int | None,
    ) -> None:
        super().__init__(image_shape, cond_spec, sample_chunk)
        self.make_optimizer = optimizer or partial(torch.optim.Adam, lr=1e-3, fused=True)
        self.schedule = schedule

    def configure_optimizers(self) -> Optimizer:
        """Return the optimizer of the trained net."""
        return optimizer_of(self.make_optimizer, self.trained_net, "optimizer")

    def on_fit_start(self) -> None:
        """Refuse to clip gradients that a fused optimizer has yet to unscale."""
        super().on_fit_start()
        refuse_fused_clipping(self.trainer, self.trainer.gradient_clip_val, "trainer.gradient_clip_val")

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip without Lightning's refusal of all fused optimizers, which concerns loss scaling alone."""
        if not gradient_clip_val:
            return
        parameters = self.trained_net.parameters()
        if gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        elif self.gradient_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, self.gradient_norm)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Take a step at the scheduled learning rate, then move the average; the closure has counted the batch."""
        if self.schedule is not None:
            self.schedule.apply(optimizer, self.images_seen)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.update_ema(self.images_seen)
