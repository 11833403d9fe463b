"""Pieces that several nets share: checks, routes of the condition, conditional normalisation, the head that judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from condgen.types import CondDims, Encoded, Shape

NetFactory = Callable[[Shape, CondDims], nn.Module]
"""Builds a net for an image shape and the widths of an encoded condition."""


class Judgement(NamedTuple):
    """What a discriminator net returns.

    logits: (N,) realness of each image, or (N, P) of each of its P parts, whose mean is the image's.
    features: (N, F) what they were made from; of the whole image.
    """

    logits: Tensor
    features: Tensor

    @property
    def realness(self) -> Tensor:
        """One number for each image, (N,)."""
        return self.logits if self.logits.ndim == 1 else self.logits.mean(dim=1)


def require_routes(net: nn.Module, dims: CondDims, *used: str) -> None:
    """Refuse a condition with a route that the net has no use for, rather than ignore it."""
    for route, width in dims._asdict().items():
        if width and route not in used:
            raise ValueError(
                f"{type(net).__name__} cannot use the condition's {route!r} route; it uses {', '.join(used) or 'none'}"
            )


def require_positive(**numbers: int | Sequence[int]) -> None:
    """Refuse a width that is not at least 1, or a list without one, naming the argument."""
    for name, value in numbers.items():
        widths = [value] if isinstance(value, int) else list(value)
        if not widths or min(widths) < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def num_doublings(shape: Shape) -> int:
    """Return k for a square image of 4 x 2^k pixels, k >= 1.

    Raises:
        ValueError: For any other height and width.
    """
    _, height, width = shape
    doublings = (height // 4).bit_length() - 1
    if height != width or doublings < 1 or height != 4 << doublings:
        raise ValueError(f"images must be square, of 8, 16, 32, 64 ... pixels, got {height}x{width}")
    return doublings


def append_vector(x: Tensor, cond: Encoded) -> Tensor:
    """Concatenate the condition's vector to (N, F)."""
    return x if cond.vector is None else torch.cat([x, cond.vector.to(x.dtype)], dim=1)


def modulation(z: Tensor, cond: Encoded, by_noise: bool, by_vector: bool) -> Encoded:
    """Return what chooses gains and biases: the condition's map and, as one vector, the noise, its vector, or both."""
    parts = [z] if by_noise else []
    parts += [cond.vector.to(z.dtype)] if by_vector and cond.vector is not None else []
    return Encoded(vector=torch.cat(parts, dim=1) if parts else None, spatial=cond.spatial)


def append_planes(x: Tensor, cond: Encoded) -> Tensor:
    """Concatenate the condition's vector to (N, C, H, W) as constant planes."""
    if cond.vector is None:
        return x
    planes = cond.vector.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, planes], dim=1)


def append_map(x: Tensor, cond: Encoded) -> Tensor:
    """Concatenate the condition's map to (N, C, H, W)."""
    return x if cond.spatial is None else torch.cat([x, cond.spatial.to(x.dtype)], dim=1)


def append_pixels(x: Tensor, cond: Encoded) -> Tensor:
    """Concatenate all numbers of the condition's map to (N, F)."""
    return x if cond.spatial is None else torch.cat([x, cond.spatial.to(x.dtype).flatten(1)], dim=1)


def num_pixels(dims: CondDims, shape: Shape) -> int:
    """Return how many numbers a condition's map has beside an image of some shape."""
    return dims.spatial * shape[1] * shape[2]


SPADE_WIDTH = 64
"""Channels between a map and the gains and biases that are made of it."""
SpectralNorm = Literal["none", "hidden", "all"]
"""Which weights are divided by their spectral norm: all, or all but the head's, whose scale is then learned."""


def normalise_spectrally(net: nn.Module, which: SpectralNorm) -> None:
    """Divide weights of a discriminator's convolutions and linear layers by their spectral norm (Miyato et al. 2018).

    With `all`, logits of similar images differ little whatever is learned; `hidden` leaves the head free to scale them.
    """
    if which not in get_args(SpectralNorm):
        raise ValueError(f"spectral_norm must be one of {', '.join(get_args(SpectralNorm))}, got {which}")
    for name, module in list(net.named_modules()) if which != "none" else []:
        if isinstance(module, nn.Conv2d | nn.Linear) and (which == "all" or not name.startswith("head.")):
            spectral_norm(module)


class SpatialAffine(nn.Module):
    """Map -> gain and bias of each place, by two convolutions (Park et al. 2019, Fig. 2); both begin at zero."""

    def __init__(self, channels: int, spatial: int) -> None:
        super().__init__()
        self.shared = nn.Conv2d(spatial, SPADE_WIDTH, 3, padding=1)
        self.affine = nn.Conv2d(SPADE_WIDTH, 2 * channels, 3, padding=1)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(cast(Tensor, self.affine.bias))

    def forward(self, spatial: Tensor, size: Sequence[int]) -> Tensor:
        """Average a map (N, C, H, W) down to a size (h, w), and make gains and biases (N, 2 channels, h, w) of it."""
        ratio = spatial.shape[2] // size[0], spatial.shape[3] // size[1]
        return cast(Tensor, self.affine(torch.relu(self.shared(F.avg_pool2d(spatial, ratio)))))


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalisation whose gain and bias the condition chooses.

    They are linear in its vector (Dumoulin et al. 2017), and vary from place to place with its map (SPADE, Park et al.
    2019). Without both it is plain batch normalisation with a learned gain and bias.
    """

    def __init__(self, channels: int, dims: CondDims) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=not (dims.vector or dims.spatial))
        self.affine = nn.Linear(dims.vector, 2 * channels) if dims.vector else None
        self.spatial = SpatialAffine(channels, dims.spatial) if dims.spatial else None
        if self.affine is not None:
            nn.init.zeros_(self.affine.weight)
            nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, cond: Encoded) -> Tensor:
        """Normalise (N, C, H, W)."""
        x = self.norm(x)
        parts = []
        if self.affine is not None and cond.vector is not None:
            parts.append(self.affine(cond.vector)[:, :, None, None])
        if self.spatial is not None and cond.spatial is not None:
            parts.append(self.spatial(cond.spatial, x.shape[2:]))
        if not parts:
            return x
        gain, bias = (parts[0] if len(parts) == 1 else parts[0] + parts[1]).chunk(2, dim=1)
        return torch.addcmul(x + bias, x, gain)


class MapFinish(nn.Module):
    """The last layer of a net that paints after a map, which chooses gain and bias at the image's resolution."""

    def __init__(self, before: int, after: int, dims: CondDims) -> None:
        super().__init__()
        self.norm = ConditionalBatchNorm2d(before, dims)
        self.conv = nn.Conv2d(before, after, 3, padding=1)

    def forward(self, x: Tensor, cond: Encoded) -> Tensor:
        """Map (N, before, H, W) to (N, after, H, W)."""
        return cast(Tensor, self.conv(torch.relu(self.norm(x, cond))))


class MinibatchStd(nn.Module):
    """Append how much a batch varies, one number, as a further channel (Karras et al. 2018, Sec. 3).

    It is the standard deviation over the batch of each feature at each place, averaged over these. A discriminator that
    has it sees at once that a generator's images are all alike, though each of them could be real.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + 1, H, W)."""
        spread = (x.float().var(dim=0, correction=0) + 1e-8).sqrt().mean().to(x.dtype)
        return torch.cat([x, spread.expand(len(x), 1, *x.shape[2:])], dim=1)


class Head(nn.Module):
    """Features (N, F) -> logits (N,), by a linear layer and, if asked for, the projection term.

    The projection term is <V y, phi(x)> with the condition's vector y (Miyato & Koyama 2018, Eq. 3); where there is
    none, neither is the term.
    """

    def __init__(self, features: int, dims: CondDims, projection: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.embed = nn.Linear(dims.vector, features, bias=False) if projection and dims.vector else None

    def forward(self, features: Tensor, cond: Encoded) -> Judgement:
        """Judge a batch of features."""
        logits: Tensor = self.linear(features).squeeze(1)
        if self.embed is not None:
            logits = logits + (self.embed(cond.vector) * features).sum(dim=1)
        return Judgement(logits, features)
