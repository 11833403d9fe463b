"""Multilayer perceptrons for conditional GANs (Mirza & Osindero 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from condgen.nets.layers import (
    Head,
    Judgement,
    SpectralNorm,
    append_pixels,
    append_vector,
    normalise_spectrally,
    num_pixels,
    require_positive,
    require_routes,
)
from condgen.types import CondDims, Encoded, Shape


class MLPGenerator(nn.Module):
    """Noise and condition, concatenated -> image (Mirza & Osindero 2014).

    Args:
        shape: Image shape (C, H, W).
        dims: Widths of the encoded condition; the vector and all pixels of the map are used.
        latent_dim: Width of the noise.
        hidden: Widths of the hidden layers.
        batch_norm: Normalise each hidden layer over the batch.
    """

    def __init__(
        self,
        shape: Shape,
        dims: CondDims,
        *,
        latent_dim: int = 64,
        hidden: Sequence[int] = (256, 512),
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        require_routes(self, dims, "vector", "spatial")
        require_positive(latent_dim=latent_dim, hidden=hidden)
        self.shape = tuple(shape)
        self.latent_dim = latent_dim
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise((latent_dim + dims.vector + num_pixels(dims, shape), *hidden)):
            layers.append(nn.Linear(width_in, width_out, bias=not batch_norm))
            layers += [nn.BatchNorm1d(width_out)] if batch_norm else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1], prod(shape)))

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        """Map z (N, latent_dim) to images (N, C, H, W) in [-1, 1]."""
        image: Tensor = torch.tanh(self.layers(append_pixels(append_vector(z, cond), cond))).unflatten(1, self.shape)
        return image


class MLPDiscriminator(nn.Module):
    """Image and condition -> logits (Mirza & Osindero 2014).

    Args:
        shape: Image shape (C, H, W).
        dims: Widths of the encoded condition; the vector and all pixels of the map are used.
        hidden: Widths of the hidden layers.
        dropout: Probability of dropping a hidden unit.
        projection: Use the vector in a projection term, not by concatenation with the image.
        spectral_norm: Weights to divide by their spectral norm (Miyato et al. 2018): `none`, `hidden` or `all`.
        background: Subtracted from images, such as -1 where most pixels are black: under spectral norm a large constant
            part of the input drowns the rest.
    """

    def __init__(
        self,
        shape: Shape,
        dims: CondDims,
        *,
        hidden: Sequence[int] = (512, 256),
        dropout: float = 0.3,
        projection: bool = False,
        spectral_norm: SpectralNorm = "none",
        background: float = 0.0,
    ) -> None:
        super().__init__()
        require_routes(self, dims, "vector", "spatial")
        require_positive(hidden=hidden)
        if not -1 <= background <= 1:
            raise ValueError(f"background must be a pixel in [-1, 1], got {background}")
        self.projection = projection
        self.background = background
        self.feature_dim = hidden[-1]
        layers: list[nn.Module] = []
        inputs = prod(shape) + (0 if projection else dims.vector) + num_pixels(dims, shape)
        for width_in, width_out in pairwise((inputs, *hidden)):
            layers += [nn.Linear(width_in, width_out), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.head = Head(self.feature_dim, dims, projection)
        normalise_spectrally(self, spectral_norm)

    def forward(self, image: Tensor, cond: Encoded) -> Judgement:
        """Judge images (N, C, H, W) in [-1, 1]."""
        x = image.flatten(1) - self.background
        features = self.layers(append_pixels(x if self.projection else append_vector(x, cond), cond))
        judgement: Judgement = self.head(features, cond)
        return judgement
