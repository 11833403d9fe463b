"""Nets that translate pictures (Isola et al. 2017): a U-Net, and a judge of patches; for images of 4 x 2^k pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condgen.nets.dcgan import init_weights
from condgen.nets.layers import (
    Judgement,
    append_map,
    append_planes,
    append_vector,
    num_doublings,
    require_positive,
    require_routes,
)
from condgen.types import CondDims, Encoded, Shape

UNDROPPED = 4
"""Layers of the way up, before the last one, that have no dropout, as published for 256x256."""


class Pix2PixGenerator(nn.Module):
    """Map -> halved to one pixel -> noise -> doubled, beside the way down at each size -> image (Isola et al. 2017).

    The published net draws its noise by dropout; here an image must follow from its seed, so the noise stands at the
    one pixel in the middle, and dropout is for training alone. As published, noise changes little: the L1 term asks for
    one image.

    Args:
        shape: Image shape (C, H, W), H = W = 4 x 2^k.
        dims: Widths of the encoded condition; the map is needed, and a vector stands beside the noise.
        latent_dim: Width of the noise.
        width: Channels after the first layer; they double with each halving, up to 8 times.
        dropout: Probability of dropping a feature of the smallest maps on the way up, to 1/32 of the image's height: of
            three maps for 256 pixels, as published, and of none below 64.
        batch_norm: Normalise over the batch; over each image if false, which is the same for batches of one, as
            published.
    """

    def __init__(
        self,
        shape: Shape,
        dims: CondDims,
        *,
        latent_dim: int = 8,
        width: int = 64,
        dropout: float = 0.5,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        require_routes(self, dims, "spatial", "vector")
        if not dims.spatial:
            raise ValueError("Pix2PixGenerator needs a condition with a map, such as SourceEncoder gives")
        require_positive(latent_dim=latent_dim, width=width)
        self.latent_dim = latent_dim
        widths = [width * min(8, 2**i) for i in range(num_doublings(shape) + 2)]
        last = len(widths) - 1  # there the map is one pixel, which cannot be normalised by itself
        self.downs = nn.ModuleList(
            layer(nn.Conv2d, before, after, batch_norm if 0 < i < last else None)
            for i, (before, after) in enumerate(pairwise([dims.spatial, *widths]))
        )
        inputs = [widths[-1] + latent_dim + dims.vector, *(2 * each for each in reversed(widths[:-1]))]
        rates = [dropout if i < last - UNDROPPED else 0.0 for i in range(last)]
        self.ups = nn.ModuleList(
            layer(nn.ConvTranspose2d, before, after, batch_norm).append(nn.Dropout(rate))
            for before, after, rate in zip(inputs[:-1], reversed(widths[:-1]), rates, strict=True)
        )
        self.to_image = nn.ConvTranspose2d(inputs[-1], shape[0], 4, stride=2, padding=1)
        self.apply(init_weights)

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        """Map z (N, latent_dim) and the condition to images (N, C, H, W) in [-1, 1]."""
        first, *downs = self.downs
        skips = [first(cond.spatial)]
        for down in downs:
            skips.append(down(F.leaky_relu(skips[-1], 0.2)))
        middle = torch.relu(skips.pop()).flatten(1)
        x = append_vector(torch.cat([middle, z.to(middle.dtype)], dim=1), cond)[:, :, None, None]
        for up in self.ups:
            x = torch.relu(torch.cat([up(x), skips.pop()], dim=1))
        return torch.tanh(cast(Tensor, self.to_image(x)))


class PatchDiscriminator(nn.Module):
    """Image beside the condition's map -> convolutions -> a logit for each of many patches (Isola et al. 2017).

    The features are those of the last hidden layer, averaged over all patches.

    Attributes:
        receptive_field: Height and width in pixels of what one logit sees: 16, 34, 70, 142 ... for 1, 2, 3, 4 halvings.

    Args:
        shape: Image shape (C, H, W), H = W = 4 x 2^k.
        dims: Widths of the encoded condition; map and vector are used, the vector as constant planes.
        width: Channels after the first layer; they double with each further one, up to 8 times.
        halvings: Convolutions of stride 2, before two of stride 1; null for patches of about a quarter of the image's
            height, as published: 3, so 70x70 pixels, for 256x256.
        batch_norm: Normalise over the batch; over each image if false, which is the same for batches of one, as
            published; null for neither, so that brightness and contrast are judged too.
    """

    def __init__(
        self,
        shape: Shape,
        dims: CondDims,
        *,
        width: int = 64,
        halvings: int | None = None,
        batch_norm: bool | None = False,
    ) -> None:
        super().__init__()
        require_routes(self, dims, "spatial", "vector")
        require_positive(width=width)
        doublings = num_doublings(shape)
        halvings = max(1, doublings - 3) if halvings is None else halvings
        if not 1 <= halvings <= doublings:
            raise ValueError(f"halvings must be from 1 to {doublings} for {shape[1]}x{shape[2]}, got {halvings}")
        self.receptive_field = 9 * 2**halvings - 2
        widths = [width * min(8, 2**i) for i in range(halvings + 1)]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise([shape[0] + dims.spatial + dims.vector, *widths])):
            stride = 2 if i < halvings else 1
            layers += [layer(nn.Conv2d, before, after, batch_norm if i else None, stride), nn.LeakyReLU(0.2, True)]
        self.layers = nn.Sequential(*layers)
        self.feature_dim = widths[-1]
        self.head = nn.Conv2d(widths[-1], 1, 4, padding=1)
        if batch_norm is not None:  # without it such small weights give a discriminator that learns late
            self.apply(init_weights)

    def forward(self, image: Tensor, cond: Encoded) -> Judgement:
        """Judge images (N, C, H, W) in [-1, 1]; logits are (N, patches)."""
        hidden = self.layers(append_planes(append_map(image, cond), cond))
        return Judgement(self.head(hidden).flatten(1), hidden.mean(dim=(2, 3)))


def layer(
    convolution: type[nn.Conv2d | nn.ConvTranspose2d], before: int, after: int, batch_norm: bool | None, stride: int = 2
) -> nn.Sequential:
    """Return a 4x4 convolution and a normalisation over the batch, or over each image; null for a bias instead."""
    conv = convolution(before, after, 4, stride=stride, padding=1, bias=batch_norm is None)
    if batch_norm is None:
        return nn.Sequential(conv)
    return nn.Sequential(conv, nn.BatchNorm2d(after) if batch_norm else nn.InstanceNorm2d(after, affine=True))
