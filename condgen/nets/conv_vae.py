"""Convolutional nets for variational autoencoders, conditional, for images of even height and width."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condgen.nets.dcgan import init_weights
from condgen.nets.joint import JointLinear
from condgen.nets.layers import (
    ConditionalBatchNorm2d,
    MapFinish,
    append_map,
    modulation,
    require_positive,
    require_routes,
)
from condgen.types import CondDims, Encoded, Shape

SMALLEST = 4
"""Sides up to this many pixels are not halved again."""


def num_halvings(net: nn.Module, shape: Shape) -> int:
    """Return how often height and width are halved: until one is odd, or at most 4 pixels.

    Raises:
        ValueError: If they cannot be halved once.
    """
    _, height, width = shape
    count = 0
    while min(height, width) >> count > SMALLEST and (height >> count) % 2 == (width >> count) % 2 == 0:
        count += 1
    if not count:
        raise ValueError(
            f"{type(net).__name__} takes images of even height and width of at least 6 pixels, best 8, 16, 32, 64 ..., "
            f"got {height}x{width}"
        )
    return count


class ConvEncoder(nn.Module):
    """Image -> strided convolutions down to a small map; joined by the condition -> posterior q(z|x, c).

    Args:
        shape: Image shape (C, H, W), H and W even, at least 6.
        dims: Widths of the encoded condition; vector and map are used, the map beside the image.
        latent_dim: Width of z.
        width: Channels after the first layer; they double towards the small map, up to 8 times.
        hidden: Width of the layer where map and condition meet.
    """

    def __init__(
        self, shape: Shape, dims: CondDims, *, latent_dim: int = 16, width: int = 32, hidden: int = 256
    ) -> None:
        super().__init__()
        require_routes(self, dims, "vector", "spatial")
        require_positive(latent_dim=latent_dim, width=width, hidden=hidden)
        halvings = num_halvings(self, shape)
        widths = [shape[0] + dims.spatial, *(width * min(8, 2**i) for i in range(halvings))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.SiLU(inplace=True)]
        features = widths[-1] * (shape[1] >> halvings) * (shape[2] >> halvings)
        self.latent_dim = latent_dim
        self.downs = nn.Sequential(*layers, nn.Flatten())
        self.joint = JointLinear(features, dims, hidden)
        self.head = nn.Linear(hidden, 2 * latent_dim)

    def forward(self, image: Tensor, cond: Encoded) -> tuple[Tensor, Tensor]:
        """Map images (N, C, H, W) in [-1, 1] to mu and logvar, (N, latent_dim) each."""
        mu, logvar = self.head(F.silu(self.joint(self.downs(append_map(image, cond)), cond))).chunk(2, dim=1)
        return mu, logvar


class ConvDecoder(nn.Module):
    """Latent variable and condition -> small map -> doubled by transposed convolutions -> likelihood's parameters.

    The condition's vector enters beside z; vector and map choose gain and bias of each batch normalisation, the map
    those of one more at the image's resolution.

    Args:
        shape: Shape of the parameters (C, H, W), H and W even, at least 6.
        dims: Widths of the encoded condition; vector and map are used.
        latent_dim: Width of z.
        width: Channels before the last layer; they double towards the small map, up to 8 times.
        hidden: Width of the layer where z and condition meet.
        self_modulation: Let z choose those gains and biases, too (Chen et al. 2019).
    """

    def __init__(
        self,
        shape: Shape,
        dims: CondDims,
        *,
        latent_dim: int = 16,
        width: int = 32,
        hidden: int = 256,
        self_modulation: bool = False,
    ) -> None:
        super().__init__()
        require_routes(self, dims, "vector", "spatial")
        require_positive(latent_dim=latent_dim, width=width, hidden=hidden)
        halvings = num_halvings(self, shape)
        widths = [width * min(8, 2**i) for i in reversed(range(halvings))]
        norm_dims = CondDims(vector=(latent_dim if self_modulation else 0) + dims.vector, spatial=dims.spatial)
        self.latent_dim = latent_dim
        self.self_modulation = self_modulation
        self.map_shape = (widths[0], shape[1] >> halvings, shape[2] >> halvings)
        self.joint = JointLinear(latent_dim, dims, hidden)
        self.stem = nn.Linear(hidden, self.map_shape[0] * self.map_shape[1] * self.map_shape[2])
        self.norms = nn.ModuleList(ConditionalBatchNorm2d(channels, norm_dims) for channels in widths)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
            for before, after in pairwise([*widths, width if dims.spatial else shape[0]])
        )
        self.finish = MapFinish(width, shape[0], norm_dims) if dims.spatial else None
        self.ups.apply(init_weights)

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        """Map z (N, latent_dim) to raw parameters (N, C, H, W)."""
        x: Tensor = self.stem(F.silu(self.joint(z, cond))).unflatten(1, self.map_shape)
        choice = modulation(z, cond, self.self_modulation, by_vector=True)
        for norm, up in zip(self.norms, self.ups, strict=True):
            x = up(torch.relu(norm(x, choice)))
        return x if self.finish is None else self.finish(x, choice)
