"""Multilayer perceptrons for variational autoencoders (Kingma & Welling 2014, App. C), conditional."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from condgen.nets.joint import JointLinear
from condgen.nets.layers import append_pixels, num_pixels, require_positive, require_routes
from condgen.types import CondDims, Encoded, Shape


def hidden_layers(widths: Sequence[int]) -> nn.Sequential:
    """Return SiLU, and linear layers between the given widths, each followed by SiLU."""
    layers: list[nn.Module] = [nn.SiLU(inplace=True)]
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), nn.SiLU(inplace=True)]
    return nn.Sequential(*layers)


class MLPEncoder(nn.Module):
    """Image and condition, concatenated -> mean and log-variance of q(z|x, c) (Kingma & Welling 2014, App. C).

    Args:
        shape: Image shape (C, H, W).
        dims: Widths of the encoded condition; the vector and all pixels of the map are used.
        latent_dim: Width of z.
        hidden: Widths of the hidden layers.
    """

    def __init__(
        self, shape: Shape, dims: CondDims, *, latent_dim: int = 16, hidden: Sequence[int] = (512, 256)
    ) -> None:
        super().__init__()
        require_routes(self, dims, "vector", "spatial")
        require_positive(latent_dim=latent_dim, hidden=hidden)
        self.latent_dim = latent_dim
        self.joint = JointLinear(prod(shape) + num_pixels(dims, shape), dims, hidden[0])
        self.layers = hidden_layers(hidden)
        self.head = nn.Linear(hidden[-1], 2 * latent_dim)

    def forward(self, image: Tensor, cond: Encoded) -> tuple[Tensor, Tensor]:
        """Map images (N, C, H, W) in [-1, 1] to mu and logvar, (N, latent_dim) each."""
        mu, logvar = self.head(self.layers(self.joint(append_pixels(image.flatten(1), cond), cond))).chunk(2, dim=1)
        return mu, logvar


class MLPDecoder(nn.Module):
    """Latent variable and condition, concatenated -> the likelihood's parameters (Kingma & Welling 2014, App. C).

    Args:
        shape: Shape of the parameters (C, H, W).
        dims: Widths of the encoded condition; the vector and all pixels of the map are used.
        latent_dim: Width of z.
        hidden: Widths of the hidden layers.
    """

    def __init__(
        self, shape: Shape, dims: CondDims, *, latent_dim: int = 16, hidden: Sequence[int] = (256, 512)
    ) -> None:
        super().__init__()
        require_routes(self, dims, "vector", "spatial")
        require_positive(latent_dim=latent_dim, hidden=hidden)
        self.shape = tuple(shape)
        self.latent_dim = latent_dim
        self.joint = JointLinear(latent_dim + num_pixels(dims, shape), dims, hidden[0])
        self.layers = hidden_layers(hidden)
        self.head = nn.Linear(hidden[-1], prod(shape))

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        """Map z (N, latent_dim) to raw parameters (N, C, H, W)."""
        params: Tensor = self.head(self.layers(self.joint(append_pixels(z, cond), cond))).unflatten(1, self.shape)
        return params
