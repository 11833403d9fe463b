"""Exponential moving average of a net's parameters."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


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
        if half_life <= 0:
            raise ValueError(f"ema_half_life must be above 0 images, or null for none, got {half_life}")
        self.half_life = half_life
        self.net = deepcopy(net).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, net: nn.Module, images: int, images_seen: int) -> None:
        """Move towards `net`, `images` after the last update, `images_seen` after the start."""
        weight = 1.0 - 0.5 ** (images / min(self.half_life, max(0.05 * images_seen, 1e-8)))
        torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), weight)
        for averaged, current in zip(self.net.buffers(), net.buffers(), strict=True):
            averaged.copy_(current)
