"""Residual nets for GANs (Miyato et al. 2018, App. B.4; Miyato & Koyama 2018), for square images of 4 x 2^k pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condgen.nets.layers import (
    ConditionalBatchNorm2d,
    Head,
    Judgement,
    SpectralNorm,
    append_map,
    normalise_spectrally,
    num_doublings,
    require_positive,
    require_routes,
)
from condgen.types import CondDims, Encoded, Shape


class ResNetGenerator(nn.Module):
    """Noise -> 4x4 map -> doubled by residual blocks with conditional batch norm -> image (Miyato et al. 2018).

    The defaults are the published net for 32x32; for 128x128 it has width 64 and max_multiple 16.

    Args:
        shape: Image shape (C, H, W), H = W = 4 x 2^k.
        dims: Widths of the encoded condition; vector and map are used, the map at the last norm too.
        latent_dim: Width of the noise.
        width: Channels of the last block.
        max_multiple: Channels double towards the 4x4 map, up to so many times `width`.
    """

    def __init__(
        self, shape: Shape, dims: CondDims, *, latent_dim: int = 128, width: int = 256, max_multiple: int = 1
    ) -> None:
        super().__init__()
        require_routes(self, dims, "vector", "spatial")
        require_positive(latent_dim=latent_dim, width=width, max_multiple=max_multiple)
        after = [width * min(max_multiple, 2**i) for i in reversed(range(num_doublings(shape)))]
        self.latent_dim = latent_dim
        self.stem = nn.Linear(latent_dim, after[0] * 16)
        self.blocks = nn.ModuleList(UpBlock(*channels, dims) for channels in pairwise([after[0], *after]))
        self.norm = ConditionalBatchNorm2d(width, CondDims(spatial=dims.spatial))
        self.to_image = nn.Conv2d(width, shape[0], 3, padding=1)
        init_glorot(self)

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        """Map z (N, latent_dim) to images (N, C, H, W) in [-1, 1]."""
        x = self.stem(z).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            x = block(x, cond)
        return torch.tanh(self.to_image(torch.relu(self.norm(x, cond))))


class ResNetDiscriminator(nn.Module):
    """Image -> residual blocks -> sum -> logits, with the condition in a projection term (Miyato & Koyama 2018).

    The defaults are the published net for 32x32; for 128x128 it has width 64, max_multiple 16 and one flat block.

    Args:
        shape: Image shape (C, H, W), H = W = 4 x 2^k.
        dims: Widths of the encoded condition; vector and map are used, the map beside the image.
        width: Channels of the first block.
        max_multiple: Channels double from block to block, up to so many times `width`.
        flat_blocks: Blocks at the end, at least 1, that keep the map's size; the first block always halves it.
        projection: Use the vector, in a projection term; false where the encoder gives no condition.
        spectral_norm: Weights to divide by their spectral norm (Miyato et al. 2018): `none`, `hidden` or `all`.
    """

    def __init__(
        self,
        shape: Shape,
        dims: CondDims,
        *,
        width: int = 128,
        max_multiple: int = 1,
        flat_blocks: int = 2,
        projection: bool = True,
        spectral_norm: SpectralNorm = "all",
    ) -> None:
        super().__init__()
        require_routes(self, dims, "spatial", *(["vector"] if projection else []))
        require_positive(width=width, max_multiple=max_multiple, flat_blocks=flat_blocks)
        count = num_doublings(shape) + 1
        halvings = max(1, count - flat_blocks)
        widths = [width * min(max_multiple, 2**i) for i in range(count)]
        blocks = [DownBlock(*channels, halve=i < halvings) for i, channels in enumerate(pairwise(widths), start=1)]
        self.blocks = nn.Sequential(FirstBlock(shape[0] + dims.spatial, width), *blocks)
        self.feature_dim = widths[-1]
        self.head = Head(self.feature_dim, dims, projection)
        init_glorot(self)
        normalise_spectrally(self, spectral_norm)

    def forward(self, image: Tensor, cond: Encoded) -> Judgement:
        """Judge images (N, C, H, W) in [-1, 1]."""
        features = torch.relu(self.blocks(append_map(image, cond))).sum(dim=(2, 3))
        judgement: Judgement = self.head(features, cond)
        return judgement


class UpBlock(nn.Module):
    """Doubles a map: conditional batch norm, ReLU, nearest upsampling and 3x3 convolutions beside a 1x1 shortcut."""

    def __init__(self, before: int, after: int, dims: CondDims) -> None:
        super().__init__()
        self.norms = nn.ModuleList(ConditionalBatchNorm2d(channels, dims) for channels in (before, after))
        self.convs = nn.ModuleList(nn.Conv2d(channels, after, 3, padding=1) for channels in (before, after))
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, cond: Encoded) -> Tensor:
        """Map (N, before, H, W) to (N, after, 2H, 2W)."""
        h = self.convs[0](double(torch.relu(self.norms[0](x, cond))))
        h = self.convs[1](torch.relu(self.norms[1](h, cond)))
        return cast(Tensor, h + double(self.shortcut(x)))  # a 1x1 convolution commutes with nearest upsampling


class DownBlock(nn.Module):
    """ReLU and 3x3 convolutions beside a shortcut; then, if asked for, 2x2 average pooling."""

    def __init__(self, before: int, after: int, *, halve: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(before, channels, 3, padding=1) for before, channels in ((before, before), (before, after))
        )
        self.shortcut = nn.Conv2d(before, after, 1) if halve or before != after else nn.Identity()
        self.pool = nn.AvgPool2d(2) if halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, before, H, W) to (N, after, H, W), or half of that."""
        h = self.convs[1](torch.relu(self.convs[0](torch.relu(x))))
        return cast(Tensor, self.pool(h) + self.shortcut(self.pool(x)))  # pooling and a 1x1 convolution commute


class FirstBlock(nn.Module):
    """The block on the image itself: no ReLU comes before its first convolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, after, 3, padding=1) for channels in (before, after))
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, before, H, W) to (N, after, H / 2, W / 2)."""
        h = self.convs[1](torch.relu(self.convs[0](x)))
        return F.avg_pool2d(h, 2) + cast(Tensor, self.shortcut(F.avg_pool2d(x, 2)))


def double(x: Tensor) -> Tensor:
    """Repeat each pixel of a map twice in both directions."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def init_glorot(net: nn.Module) -> None:
    """Draw weights as published: Glorot and Bengio's uniform, sqrt(2) wider for 3x3 convolutions inside blocks."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and not name.endswith("affine"):
            nn.init.xavier_uniform_(module.weight, gain=2**0.5 if ".convs." in name else 1.0)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
