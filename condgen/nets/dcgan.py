"""Convolutional nets for GANs (Radford et al. 2016), conditional, for square images of 4 x 2^k pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condgen.nets.layers import (
    ConditionalBatchNorm2d,
    Head,
    Judgement,
    MapFinish,
    MinibatchStd,
    SpectralNorm,
    append_map,
    append_planes,
    append_vector,
    modulation,
    normalise_spectrally,
    num_doublings,
    require_positive,
    require_routes,
)
from condgen.types import CondDims, Encoded, Shape


def init_weights(module: nn.Module) -> None:
    """Draw convolution weights from N(0, 0.02) (Radford et al. 2016, Sec. 4), for nets that normalise what follows."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


class DCGANGenerator(nn.Module):
    """Noise and condition -> 4x4 map -> doubled by transposed convolutions -> image (Radford et al. 2016).

    A condition's map steers each batch normalisation, and one more at the image's resolution.

    Args:
        shape: Image shape (C, H, W), H = W = 4 x 2^k.
        dims: Widths of the encoded condition; vector and map are used.
        latent_dim: Width of the noise.
        width: Channels before the last layer; they double towards the 4x4 map, up to 8 times.
        concat: Concatenate the condition's vector to the noise.
        conditional_norm: Let the vector choose gain and bias of each batch normalisation.
        self_modulation: Let the noise choose them, too (Chen et al. 2019), which paints a whole image in one style.
    """

    def __init__(
        self,
        shape: Shape,
        dims: CondDims,
        *,
        latent_dim: int = 64,
        width: int = 32,
        concat: bool = True,
        conditional_norm: bool = True,
        self_modulation: bool = False,
    ) -> None:
        super().__init__()
        require_routes(self, dims, "vector", "spatial")
        if dims.vector and not (concat or conditional_norm):
            raise ValueError("DCGANGenerator has no use for the condition: set concat or conditional_norm")
        require_positive(latent_dim=latent_dim, width=width)
        doublings = num_doublings(shape)
        widths = [width * min(8, 2**i) for i in reversed(range(doublings))]
        chosen_by = (latent_dim if self_modulation else 0) + (dims.vector if conditional_norm else 0)
        norm_dims = CondDims(vector=chosen_by, spatial=dims.spatial)
        self.latent_dim = latent_dim
        self.concat = concat
        self.conditional_norm = conditional_norm
        self.self_modulation = self_modulation
        self.stem = nn.Linear(latent_dim + (dims.vector if concat else 0), widths[0] * 16)
        self.norms = nn.ModuleList(ConditionalBatchNorm2d(channels, norm_dims) for channels in widths)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
            for before, after in zip(widths, [*widths[1:], width if dims.spatial else shape[0]], strict=True)
        )
        self.finish = MapFinish(width, shape[0], norm_dims) if dims.spatial else None
        self.ups.apply(init_weights)

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        """Map z (N, latent_dim) to images (N, C, H, W) in [-1, 1]."""
        x = self.stem(append_vector(z, cond) if self.concat else z).unflatten(1, (-1, 4, 4))
        choice = modulation(z, cond, self.self_modulation, self.conditional_norm)
        for norm, up in zip(self.norms, self.ups, strict=True):
            x = up(torch.relu(norm(x, choice)))
        return torch.tanh(x if self.finish is None else self.finish(x, choice))


class DCGANDiscriminator(nn.Module):
    """Image and condition -> strided convolutions down to 4x4 -> logits (Radford et al. 2016).

    Args:
        shape: Image shape (C, H, W), H = W = 4 x 2^k.
        dims: Widths of the encoded condition; vector and map are used, the map beside the image.
        width: Channels after the first layer; they double towards the 4x4 map, up to 8 times.
        projection: Use the vector in a projection term, not as constant planes beside the image.
        spectral_norm: Weights to divide by their spectral norm (Miyato et al. 2018): `none`, `hidden` or `all`.
        batch_norm: Normalise each layer but the first over the batch.
        minibatch_std: Let the last convolution see how much the images of a batch differ, too (Karras et al. 2018):
            that keeps a generator from making them all alike.
        dropout: Probability of dropping a feature of the 4x4 map.
    """

    def __init__(
        self,
        shape: Shape,
        dims: CondDims,
        *,
        width: int = 32,
        projection: bool = False,
        spectral_norm: SpectralNorm = "none",
        batch_norm: bool = False,
        minibatch_std: bool = False,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        require_routes(self, dims, "vector", "spatial")
        require_positive(width=width)
        doublings = num_doublings(shape)
        widths = [width * min(8, 2**i) for i in range(doublings)]
        self.projection = projection
        self.feature_dim = widths[-1] * 16
        layers: list[nn.Module] = []
        channels = shape[0] + (0 if projection else dims.vector) + dims.spatial
        for i, after in enumerate(widths):
            if minibatch_std and i == doublings - 1:
                layers.append(MinibatchStd())
                channels += 1
            layers.append(nn.Conv2d(channels, after, 4, stride=2, padding=1))
            layers += [nn.BatchNorm2d(after)] if batch_norm and i else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels = after
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout))
        if batch_norm:  # without it such small weights give a discriminator that learns late
            self.layers.apply(init_weights)
        self.head = Head(self.feature_dim, dims, projection)
        normalise_spectrally(self, spectral_norm)

    def forward(self, image: Tensor, cond: Encoded) -> Judgement:
        """Judge images (N, C, H, W) in [-1, 1]."""
        features = self.layers(append_map(image if self.projection else append_planes(image, cond), cond))
        judgement: Judgement = self.head(features, cond)
        return judgement
