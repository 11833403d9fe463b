"""Exponential moving average of a net's parameters."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn


class EMA(nn.Module):
    """A copy of a net whose parameters are averaged over training; its buffers are copied.

    The decay of an update is 0.5^(images / h), where h is the half-life, shortened early in training to 5% of the
    images seen (the ramp-up of StyleGAN2-ADA, Karras et al. 2020), so that the initial weights are forgotten.

    Args:
        net: The net to copy.
        half_life: Half-life of the average in images.
    """

    def __init__(self, net: nn.Module, half_life: float) -> None:
        super().__init__()
        if not half_life > 0:  # a NaN fails it
            raise ValueError(f"ema_half_life must be above 0 images, or null for none, got {half_life}")
        self.half_life = half_life
        self.net = deepcopy(net).requires_grad_(False).eval()
        self._own, self._followed = Places(self.net), Places(net)

    @torch.no_grad()
    def update(self, net: nn.Module, images: int, images_seen: int) -> None:
        """Move towards `net`, `images` after the last update, `images_seen` after the start."""
        if self._followed.net is not net:
            self._followed = Places(net)
        weight = 1.0 - 0.5 ** (images / min(self.half_life, max(0.05 * images_seen, 1e-8)))
        torch._foreach_lerp_(self._own.parameters(), self._followed.parameters(), weight)
        if buffers := self._own.buffers():
            torch._foreach_copy_(buffers, self._followed.buffers())


class Places:
    """Where a net keeps its parameters and buffers, found once: a walk through a small net takes longer than its step.

    Attributes:
        net: The net.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self._parameters = [self._place(name) for name, _ in net.named_parameters()]
        self._buffers = [self._place(name) for name, _ in net.named_buffers()]

    def _place(self, name: str) -> tuple[nn.Module, str]:
        path, _, last = name.rpartition(".")
        return self.net.get_submodule(path), last

    def parameters(self) -> list[Tensor]:
        """Return the parameters as they are now."""
        return [module._parameters[name] for module, name in self._parameters]  # type: ignore[misc]

    def buffers(self) -> list[Tensor]:
        """Return the buffers as they are now."""
        return [module._buffers[name] for module, name in self._buffers]  # type: ignore[misc]
