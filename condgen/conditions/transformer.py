"""A transformer over tokens."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESIDUAL = 0.1
"""Factor of what a block adds (Szegedy et al. 2017, Sec. 3.3): a word must not be lost in its sentence at first."""


class Block(nn.Module):
    """Attention among tokens, then two layers at each, both behind a normalisation (Xiong et al. 2020).

    What they add is small, and at first nothing, so that training begins with the words themselves.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = zeroed(nn.Linear(width, width))
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), zeroed(nn.Linear(4 * width, width)))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map tokens (N, L, width) to the same shape; those that `mask` (N, 1, 1, L) excludes change no other."""
        q, k, v = self.qkv(self.norm_1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + RESIDUAL * self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))
        return x + RESIDUAL * cast(Tensor, self.layers(self.norm_2(x)))


class Transformer(nn.Module):
    """Blocks between an embedding and a last normalisation (Vaswani et al. 2017), with learned positions.

    Args:
        count: Number of different tokens.
        length: Tokens in a row.
        width: Width of each.
        depth: Number of blocks.
        heads: Heads of attention.
    """

    def __init__(self, count: int, length: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(count, width)
        self.positions = nn.Parameter(0.1 * torch.randn(length, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, numbers: Tensor, mask: Tensor) -> Tensor:
        """Map numbers of tokens (N, L) int64 to (N, L, width); those where `mask` (N, L) is false change no other."""
        x = self.embedding(numbers) + self.positions
        for block in self.blocks:
            x = block(x, mask[:, None, None, :])
        return cast(Tensor, self.norm(x))


def zeroed(layer: nn.Linear) -> nn.Linear:
    """Let a layer begin at zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
