"""U-Net for diffusion (Ho et al. 2020, App. B; Dhariwal & Nichol 2021, Sec. 3), conditional."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import log, pi
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as recomputed

from condgen.nets.attention import CrossAttention, GroupNorm, SelfAttention, num_groups, zeroed
from condgen.nets.heights import check_heights, check_sides, crossed_heights
from condgen.nets.layers import append_map, require_positive, require_routes
from condgen.types import CondDims, Encoded, Shape

POSITION = 0.3
"""Standard deviation of a learned position at first, about that of the features it is added to."""


def cosines(channels: int, height: int, width: int) -> Tensor:
    """Return the lowest spatial frequencies but the constant, (1, channels, height, width), of variance 1 each.

    A small map has fewer than there are channels; the others are zero.
    """
    pairs = product(range(min(height, channels + 1)), range(min(width, channels + 1)))
    lowest = sorted(pairs, key=lambda pair: pair[0] ** 2 + pair[1] ** 2)[1 : channels + 1]
    y, x = ((torch.arange(length) + 0.5) * (pi / length) for length in (height, width))
    waves = torch.zeros(channels, height, width)
    for wave, (i, j) in zip(waves, lowest, strict=False):
        wave.copy_(torch.cos(i * y)[:, None] * torch.cos(j * x))
        wave.div_(wave.square().mean().sqrt())
    return waves[None]


def time_embedding(t: Tensor, width: int) -> Tensor:
    """Embed times t (N,) in [0, 1000) as sines and cosines (N, width) (Vaswani et al. 2017, Sec. 3.5)."""
    half = width // 2
    frequencies = torch.exp(-log(10_000.0) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class AdaptiveGroupNorm(nn.Module):
    """Group normalisation whose gain and bias are linear in an embedding (Dhariwal & Nichol 2021, Eq. 3)."""

    def __init__(self, channels: int, embedding_dim: int) -> None:
        super().__init__()
        self.norm = GroupNorm(num_groups(channels), channels)
        self.affine = nn.Linear(embedding_dim, 2 * channels)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        gain, bias = self.affine(embedding)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(bias, self.norm(x), 1.0 + gain)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the embedding between them; the second one begins at zero."""

    def __init__(self, channels_in: int, channels_out: int, embedding_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm_1 = GroupNorm(num_groups(channels_in), channels_in)
        self.conv_1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm_2 = AdaptiveGroupNorm(channels_out, embedding_dim)
        self.dropout = nn.Dropout(dropout)
        self.conv_2 = zeroed(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        same = channels_in == channels_out
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H, W)."""
        h = self.conv_1(F.silu(self.norm_1(x)))
        h = self.conv_2(self.dropout(F.silu(self.norm_2(h, embedding))))
        out: Tensor = self.skip(x) + h
        return out


class Stage(nn.Module):
    """A residual block, then attention among pixels and to tokens of some width, where they are asked for."""

    def __init__(
        self, channels_in: int, channels_out: int, embedding_dim: int, dropout: float, attend: bool, tokens: int
    ) -> None:
        super().__init__()
        self.block = ResidualBlock(channels_in, channels_out, embedding_dim, dropout)
        self.attention = SelfAttention(channels_out) if attend else None
        self.cross_attention = CrossAttention(channels_out, tokens) if tokens else None

    def forward(self, x: Tensor, embedding: Tensor, cond: Encoded) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H, W)."""
        x = self.block(x, embedding)
        if self.attention is not None:
            x = self.attention(x)
        if self.cross_attention is not None:
            x = self.cross_attention(x, cond.tokens, cond.token_mask)
        return x


class UNet(nn.Module):
    """x_t, time and condition -> a map of the image's shape (Ho et al. 2020; Dhariwal & Nichol 2021).

    The condition's vector is added to the time's embedding, which sets gain and bias of each block's normalisation;
    pixels attend to its tokens; its map stands beside x_t.

    Args:
        shape: Image shape (C, H, W); H and W must be divisible by patch x 2^(len(multipliers) - 1).
        dims: Widths of the encoded condition; all routes are used.
        width: Channels at the highest resolution; divisible by 4.
        multipliers: Channels at each resolution in units of `width`; each is half of the resolution before.
        blocks: Residual blocks per resolution on the way down; one more on the way up.
        attention: Heights of feature maps with self-attention; null for the lowest alone.
        cross_attention: Heights of those that attend to the condition's tokens; null for the same.
        patch: Fold patch x patch pixels into channels at the door, and back at the end, to compute at a lower
            resolution.
        dropout: Probability of dropping a feature inside a block.
        position: Add a learned map, low frequencies at first, to the features at the door, so that words and numbers
            can say where: convolutions and attention see places by the image's edges alone.
        checkpoint: Keep no features inside the stages in training, but compute them again on the way back (Chen et al.
            2016): the same gradients with less memory, for about a third more time.
    """

    def __init__(
        self,
        shape: Shape,
        dims: CondDims,
        *,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] | None = (16, 8),
        cross_attention: Sequence[int] | None = None,
        patch: int = 1,
        dropout: float = 0.0,
        position: bool = False,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        require_routes(self, dims, "vector", "tokens", "spatial")
        require_positive(width=width, multipliers=multipliers, blocks=blocks, patch=patch)
        sides = check_sides(shape, patch, len(multipliers))
        attention = sides[-1:] if attention is None else attention
        check_heights("attention", attention, sides)
        crossed = crossed_heights(dims, attention, cross_attention, sides)
        if width % 4:
            raise ValueError(f"width must be divisible by 4, got {width}")
        self.width = width
        self.checkpoint = checkpoint
        channels, embedding_dim = shape[0] * patch**2, 4 * width
        self.time = nn.Sequential(nn.Linear(width, embedding_dim), nn.SiLU(), nn.Linear(embedding_dim, embedding_dim))
        self.vector = nn.Linear(dims.vector, embedding_dim, bias=False) if dims.vector else None
        if self.vector is not None:  # as strong as the time's embedding, or the class is learned late
            nn.init.normal_(self.vector.weight)
        self.fold, self.unfold = nn.PixelUnshuffle(patch), nn.PixelShuffle(patch)
        self.stem = nn.Conv2d(channels + dims.spatial * patch**2, width, 3, padding=1)

        size = shape[1] // patch, shape[2] // patch
        self.position = nn.Parameter(cosines(width, *size) * POSITION) if position else None

        def stage(before: int, after: int, side: int) -> Stage:
            tokens = dims.tokens if side in crossed else 0
            return Stage(before, after, embedding_dim, dropout, side in attention, tokens)

        levels = [(width * factor, side) for factor, side in zip(multipliers, sides, strict=True)]
        last = levels[-1][0]
        skips = self._build_down(levels, blocks, stage)
        self.middle = stage(last, last, sides[-1])
        self._build_up(levels, blocks, stage, skips)
        self.norm = GroupNorm(num_groups(levels[0][0]), levels[0][0])
        self.last = zeroed(nn.Conv2d(levels[0][0], channels, 3, padding=1))

    def _build_down(self, levels: list[tuple[int, int]], blocks: int, stage: Callable[..., Stage]) -> list[int]:
        """Build the way down through levels of (channels, height); return the channels of all skip connections."""
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        now, skips = self.width, [self.width]
        for level, (channels, side) in enumerate(levels):
            if level:
                self.shrink.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                skips.append(now)
            befores = [now, *[channels] * (blocks - 1)]
            self.down.append(nn.ModuleList(stage(before, channels, side) for before in befores))
            skips += [channels] * blocks
            now = channels
        return skips

    def _build_up(
        self, levels: list[tuple[int, int]], blocks: int, stage: Callable[..., Stage], skips: list[int]
    ) -> None:
        """Build the way up, whose stages take the skips of the way down beside their input."""
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        now = levels[-1][0]
        for level, (channels, side) in enumerate(reversed(levels)):
            if level:
                self.grow.append(nn.Conv2d(now, now, 3, padding=1))
            befores = [now, *[channels] * blocks]
            self.up.append(nn.ModuleList(stage(before + skips.pop(), channels, side) for before in befores))
            now = channels

    def forward(self, x: Tensor, t: Tensor, cond: Encoded) -> Tensor:
        """Map x_t (N, C, H, W), times t (N,) in [0, 1000) and the condition to (N, C, H, W), unbounded."""
        embedding = self.time(time_embedding(t, self.width).to(self.stem.weight.dtype))
        if self.vector is not None and cond.vector is not None:
            embedding = embedding + self.vector(cond.vector)
        embedding = F.silu(embedding)
        h = self.stem(self.fold(append_map(x, cond)))
        if self.position is not None:
            h = h + self.position.to(h.dtype)
        skips = [h]
        for i, stages in enumerate(self.down):
            if i:
                h = self.shrink[i - 1](h)
                skips.append(h)
            for stage in cast(nn.ModuleList, stages):
                h = self._through(stage, embedding, cond, h)
                skips.append(h)
        h = self._through(self.middle, embedding, cond, h)
        for i, stages in enumerate(self.up):
            if i:
                h = self.grow[i - 1](F.interpolate(h, scale_factor=2.0, mode="nearest"))
            for stage in cast(nn.ModuleList, stages):
                h = self._through(stage, embedding, cond, h, skips.pop())
        out: Tensor = self.unfold(self.last(F.silu(self.norm(h))))
        return out

    def _through(self, stage: nn.Module, embedding: Tensor, cond: Encoded, *maps: Tensor) -> Tensor:
        """Apply a stage to maps beside each other."""

        def apply(*maps: Tensor) -> Tensor:
            out: Tensor = stage(maps[0] if len(maps) == 1 else torch.cat(maps, dim=1), embedding, cond)
            return out

        if self.checkpoint and torch.is_grad_enabled():
            return recomputed(apply, *maps, use_reentrant=False)
        return apply(*maps)
