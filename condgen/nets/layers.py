"""Pieces that several nets share: checks, routes of the condition, conditional normalisation, the head that judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from condgen.types import CondDims, Encoded, Shape

NetFactory = Callable[[Shape, CondDims], nn.Module]
"""Builds a net for an image shape and the widths of an encoded condition."""


class Judgement(NamedTuple):
    """What a discriminator net returns: realness logits (N,) and the features (N, F) they were made from."""

    logits: Tensor
    features: Tensor


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


def append_planes(x: Tensor, cond: Encoded) -> Tensor:
    """Concatenate the condition's vector to (N, C, H, W) as constant planes."""
    if cond.vector is None:
        return x
    planes = cond.vector.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, planes], dim=1)


def append_map(x: Tensor, cond: Encoded) -> Tensor:
    """Concatenate the condition's map to (N, C, H, W).

    Raises:
        ValueError: If it has another height or width.
    """
    if cond.spatial is None:
        return x
    sizes = [f"{height}x{width}" for height, width in (cond.spatial.shape[2:], x.shape[2:])]
    if sizes[0] != sizes[1]:
        raise ValueError(f"the condition's map is of {sizes[0]} pixels, the image of {sizes[1]}")
    return torch.cat([x, cond.spatial.to(x.dtype)], dim=1)


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


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalisation whose gain and bias are linear in the condition's vector (Dumoulin et al. 2017).

    Without a vector it is plain batch normalisation with a learned gain and bias.
    """

    def __init__(self, channels: int, dims: CondDims) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=not dims.vector)
        self.affine = nn.Linear(dims.vector, 2 * channels) if dims.vector else None
        if self.affine is not None:
            nn.init.zeros_(self.affine.weight)
            nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, cond: Encoded) -> Tensor:
        """Normalise (N, C, H, W)."""
        x = self.norm(x)
        if self.affine is None or cond.vector is None:
            return x
        gain, bias = self.affine(cond.vector)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(x + bias, x, gain)


class Head(nn.Module):
    """Features (N, F) -> logits (N,), by a linear layer and, if asked for, the projection term.

    The projection term is <V y, phi(x)> with the condition's vector y (Miyato & Koyama 2018, Eq. 3).
    """

    def __init__(self, features: int, dims: CondDims, projection: bool) -> None:
        super().__init__()
        if projection and not dims.vector:
            raise ValueError("projection needs a condition with a vector; the encoder gives none")
        self.linear = nn.Linear(features, 1)
        self.embed = nn.Linear(dims.vector, features, bias=False) if projection else None

    def forward(self, features: Tensor, cond: Encoded) -> Judgement:
        """Judge a batch of features."""
        logits: Tensor = self.linear(features).squeeze(1)
        if self.embed is not None:
            logits = logits + (self.embed(cond.vector) * features).sum(dim=1)
        return Judgement(logits, features)
