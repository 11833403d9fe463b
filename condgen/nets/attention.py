"""Attention of a map's pixels to each other, and to the condition's tokens; both begin as the identity."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_PAIRS = 2**16
"""Pairs of places whose products are held at once on a CPU."""
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class GroupNorm(nn.GroupNorm):
    """Group normalisation that a CPU does in float32 where groups have channels that torch's kernel is slow at.

    In bfloat16, channels-last, it is two to four times as slow with groups of 4 or 8 channels as in float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if x.device.type == "cpu" and x.dtype == torch.bfloat16 and self.num_channels // self.num_groups % 16:
            return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


class SelfAttention(nn.Module):
    """Attention among all pixels, with heads of 32 channels where that divides; its output begins at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = num_heads(channels)
        self.norm = GroupNorm(num_groups(channels), channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(pixels).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = attend(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = x + self.out(mixed).transpose(1, 2).unflatten(2, x.shape[2:])
        return out


class CrossAttention(nn.Module):
    """Attention of each pixel to tokens (Rombach et al. 2022, Sec. 3.3); its output begins at zero."""

    def __init__(self, channels: int, token_width: int) -> None:
        super().__init__()
        self.heads = num_heads(channels)
        self.norm = GroupNorm(num_groups(channels), channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(token_width, 2 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Map (N, C, H, W) to the same shape, by the tokens (N, L, D) where `mask` (N, L) is true; all if null."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        q = self.query(pixels).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(tokens).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        there = None if mask is None else mask[:, None, None, :]
        mixed = attend(q, k, v, there).transpose(1, 2).flatten(2)
        out: Tensor = x + self.out(mixed).transpose(1, 2).unflatten(2, x.shape[2:])
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return softmax(q k' / sqrt(d)) v of (N, heads, L, d), over places where `mask` is true.

    Torch's kernel for CPUs takes five times as long in bfloat16 as the products one by one, which few places allow.
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or q.shape[2] * k.shape[2] > MOST_PAIRS:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    out: Tensor = scores.softmax(dim=-1).to(v.dtype) @ v
    return out


def num_heads(channels: int) -> int:
    """Return the number of heads, of 32 channels each where that divides, else one."""
    return channels // 32 if channels % 32 == 0 else 1


def num_groups(channels: int) -> int:
    """Return the number of groups of a group normalisation: up to 8, with 4 channels or more in each if possible."""
    return next(groups for groups in (8, 4, 2, 1) if channels % groups == 0 and channels // groups >= min(4, channels))


def zeroed(layer: Layer) -> Layer:
    """Let a layer begin at zero, so that its residual block begins as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
