"""Nets of other code bases, written anew from the shapes in their READMEs and papers; no code is copied.

PyTorch-GAN's cgan and dcgan (https://github.com/eriklindernoren/PyTorch-GAN), and the variational autoencoders of
pytorch/examples and pythae. Peers' loops and condgen train the same classes, so that a ratio is about the loop.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from condgen.nets import Judgement
from condgen.types import CondDims, Encoded, Shape

EPS = 0.8
"""The epsilon of PyTorch-GAN's batch normalisation."""


def with_vector(x: Tensor, cond: Encoded) -> Tensor:
    return x if cond.vector is None else torch.cat([x, cond.vector], dim=1)


class CGANGenerator(nn.Module):
    """Noise of 100 and a label's embedding -> 128, 256, 512, 1024 -> pixels."""

    latent_dim = 100

    def __init__(self, shape: Shape, dims: CondDims) -> None:
        super().__init__()
        self.shape = tuple(shape)
        layers: list[nn.Module] = [nn.Linear(self.latent_dim + dims.vector, 128), nn.LeakyReLU(0.2, inplace=True)]
        for before, after in pairwise((128, 256, 512, 1024)):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after, EPS), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(1024, prod(shape)), nn.Tanh())

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        return self.layers(with_vector(z, cond)).unflatten(1, self.shape)


class CGANDiscriminator(nn.Module):
    """Pixels and a label's embedding -> 512, 512, 512 -> logit."""

    feature_dim = 512

    def __init__(self, shape: Shape, dims: CondDims) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(prod(shape) + dims.vector, 512), nn.LeakyReLU(0.2, inplace=True)]
        for _ in range(2):
            layers += [nn.Linear(512, 512), nn.Dropout(0.4), nn.LeakyReLU(0.2, inplace=True)]
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(512, 1)

    def forward(self, image: Tensor, cond: Encoded) -> Judgement:
        features = self.layers(with_vector(image.flatten(1), cond))
        return Judgement(self.head(features).squeeze(1), features)


class DCGANGenerator(nn.Module):
    """Noise of 100 -> 128 channels at a quarter of the height -> doubled twice, by nearest neighbours and 3x3."""

    latent_dim = 100

    def __init__(self, shape: Shape, dims: CondDims) -> None:
        super().__init__()
        side = shape[1] // 4
        self.stem, self.map = nn.Linear(self.latent_dim, 128 * side**2), (128, side, side)
        layers: list[nn.Module] = [nn.BatchNorm2d(128)]
        for before, after in ((128, 128), (128, 64)):
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1)]
            layers += [nn.BatchNorm2d(after, EPS), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(64, shape[0], 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        return self.layers(self.stem(z).unflatten(1, self.map))


class DCGANDiscriminator(nn.Module):
    """Strided convolutions of 16, 32, 64, 128 channels -> logit."""

    def __init__(self, shape: Shape, dims: CondDims) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((shape[0], 16, 32, 64, 128)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Dropout2d(0.25)]
            layers += [nn.BatchNorm2d(after, EPS)] if after > 16 else []
        self.feature_dim = 128 * (shape[1] // 16) ** 2
        self.layers, self.head = nn.Sequential(*layers, nn.Flatten()), nn.Linear(self.feature_dim, 1)

    def forward(self, image: Tensor, cond: Encoded) -> Judgement:
        features = self.layers(image)
        return Judgement(self.head(features).squeeze(1), features)


class ReLUEncoder(nn.Module):
    """Pixels -> one hidden layer -> mean and log-variance."""

    def __init__(self, shape: Shape, dims: CondDims, hidden: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), hidden), nn.ReLU())
        self.mu, self.logvar = nn.Linear(hidden, latent_dim), nn.Linear(hidden, latent_dim)

    def forward(self, image: Tensor, cond: Encoded) -> tuple[Tensor, Tensor]:
        features = self.layers(image)
        return self.mu(features), self.logvar(features)


class ReLUDecoder(nn.Module):
    """z -> one hidden layer -> logits of pixels."""

    def __init__(self, shape: Shape, dims: CondDims, hidden: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim, self.shape = latent_dim, tuple(shape)
        self.layers = nn.Sequential(nn.Linear(latent_dim, hidden), nn.ReLU(), nn.Linear(hidden, prod(shape)))

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        return self.layers(z).unflatten(1, self.shape)


class DiffusersUNet(nn.Module):
    """diffusers' UNet2DModel as it is, of as many parameters as condgen's in `ddpm.yaml`; without a condition."""

    def __init__(self, shape: Shape, dims: CondDims) -> None:
        from diffusers import UNet2DModel

        super().__init__()
        attended = ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D")
        self.net = UNet2DModel(
            sample_size=shape[1],
            in_channels=shape[0],
            out_channels=shape[0],
            block_out_channels=(32, 64, 128),
            layers_per_block=1,
            down_block_types=attended[0],
            up_block_types=attended[1],
            norm_num_groups=8,
        )

    def forward(self, x_t: Tensor, t: Tensor, cond: Encoded) -> Tensor:
        return self.net(x_t, t).sample
