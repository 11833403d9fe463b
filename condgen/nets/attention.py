"""Attention of a map's pixels to each other, and to the condition's tokens; both begin as the identity."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional as F

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class SelfAttention(nn.Module):
    """Attention among all pixels, with heads of 32 channels where that divides; its output begins at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = num_heads(channels)
        self.norm = nn.GroupNorm(num_groups(channels), channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(pixels).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = x + self.out(mixed).transpose(1, 2).unflatten(2, x.shape[2:])
        return out


class CrossAttention(nn.Module):
    """Attention of each pixel to tokens (Rombach et al. 2022, Sec. 3.3); its output begins at zero."""

    def __init__(self, channels: int, token_width: int) -> None:
        super().__init__()
        self.heads = num_heads(channels)
        self.norm = nn.GroupNorm(num_groups(channels), channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(token_width, 2 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Map (N, C, H, W) to the same shape, by the tokens (N, L, D) where `mask` (N, L) is true; all if null."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        q = self.query(pixels).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(tokens).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        there = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=there).transpose(1, 2).flatten(2)
        out: Tensor = x + self.out(mixed).transpose(1, 2).unflatten(2, x.shape[2:])
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
