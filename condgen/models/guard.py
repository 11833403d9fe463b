"""A guard over updates: one that is not finite never reaches the weights, and is told of without making a GPU wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

EVERY = 50
"""Batches between two looks on a device that works ahead of the host; on a CPU each batch is looked at."""


class Seen(NamedTuple):
    """What an update was made from: the batch's number, names, and their values (len(names),) on the device."""

    batch: int
    names: list[str]
    values: Tensor


class Guard:
    """Masks updates from the first loss or gradient on that is not finite, and names it at the next look.

    Attributes:
        batch: Number of the batch that is trained on, from 1.
        every: Batches between two looks, at which the host waits for the device.
    """

    def __init__(self) -> None:
        self.batch = 0
        self.every = 1
        self._looked = 0
        self._bad: Tensor | None = None
        self._seen: list[Seen] = []
        self._skipped: Tensor | None = None

    def start(self, device: torch.device) -> None:
        """Begin a training on a device."""
        self.every = 1 if device.type == "cpu" else EVERY
        self._bad = self._skipped = None
        self._seen.clear()

    def watch(self, optimizer: Optimizer, player: str, losses: Mapping[str, Tensor], *, scaled: bool) -> Tensor:
        """Look at the losses and the gradient before a step, and keep the step from the weights if need be.

        Args:
            optimizer: The optimizer that is about to step.
            player: Whose gradient it is.
            losses: The last losses by name, without dimensions.
            scaled: Whether a loss scaler skips steps by itself; they are counted then.

        Returns:
            The norm of the gradient, 0 if the step is masked.
        """
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = total_norm(gradients)
        watched = dict(losses) if scaled else {**losses, f"the gradient of {player}": norm}
        if self.every == 1 and not scaled:  # what is not finite ends the run here, so nothing needs a mask
            self._looked = self.batch
            refuse(self.batch, watched, [value.item() for value in watched.values()])
            return norm
        found = [value.detach().float() for value in watched.values()]
        values = torch.stack(found) if found else norm.new_zeros(0)  # a model of the user's may name no loss
        self._seen.append(Seen(self.batch, list(watched), values))
        if scaled:
            skipped = norm.isfinite().logical_not().long()
            self._skipped = skipped if self._skipped is None else self._skipped + skipped
        if self.every == 1 or self.batch - self._looked >= self.every:
            self.look()
        bad = values.isfinite().all().logical_not()
        self._bad = bad if self._bad is None else self._bad | bad
        if not scaled:
            mask(optimizer, gradients, self._bad)
        return torch.where(self._bad, 0.0, norm)

    def look(self) -> None:
        """Wait for the device, and stop at the first value that is not finite.

        Raises:
            FloatingPointError: Naming it and its batch.
        """
        self._looked = self.batch
        if not self._seen:
            return
        found = torch.cat([seen.values for seen in self._seen]).tolist()
        for seen in self._seen:
            refuse(seen.batch, seen.names, found[: len(seen.names)])
            del found[: len(seen.names)]
        self._seen.clear()

    def take_skipped(self) -> int:
        """Return how many steps a loss scaler has skipped since this was last asked."""
        count = 0 if self._skipped is None else int(self._skipped)
        self._skipped = None
        return count


def refuse(batch: int, names: Iterable[str], values: Iterable[float]) -> None:
    """Stop at the first value that is not finite."""
    for name, value in zip(names, values, strict=True):
        if not isfinite(value):
            raise FloatingPointError(
                f"{name} is {value} at batch {batch}; training stops, and its weights are those before. "
                "Lower the learning rate, or clip the gradient"
            )


def total_norm(gradients: list[Tensor]) -> Tensor:
    """Return the norm () of gradients on one device; torch's own function first sorts them by their devices."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))) if gradients else torch.zeros(())


def mask(optimizer: Optimizer, gradients: list[Tensor], bad: Tensor) -> None:
    """Keep a step from the weights if `bad` () bool is true, without a look at it.

    A fused optimizer then leaves weights and state alone, as for a loss scaler; any other gets a gradient of 0.
    """
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        cast(Any, optimizer).found_inf = bad.float()
    else:
        for gradient in gradients:
            gradient.masked_fill_(bad, 0.0)
