"""How a character is written: the width of its strokes and its slant, of samples beside the one that sets the style."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.checks import describe
from condgen.metrics.obedience import Obedience, ratio
from condgen.types import Condition

CONSTANT = 1e-9
"""Variances, in square pixels or square degrees, up to which values count as all the same."""


class StrokeStyle(Obedience):
    """Compares stroke width, in pixels, and slant, in degrees, of each bright character on black with its `style`.

    `stroke_width_r` and `slant_r` are Pearson's correlations over the samples, 0 where all are the same, and
    `stroke_width_error` and `slant_error` the mean absolute differences.
    """

    better: ClassVar[dict[str, str]] = {
        "stroke_width_r": "higher",
        "stroke_width_error": "lower",
        "slant_r": "higher",
        "slant_error": "lower",
    }
    keys: ClassVar[tuple[str, ...]] = ("style",)

    def measure(self, image: Tensor, cond: Condition, target: Tensor | None) -> Tensor:
        """Return values, squares, product and distance of the pair, for the width and the slant, and 1."""
        found, due = stroke_style(image), stroke_style(cond["style"].to(image.device))
        parts = found, due, found.square(), due.square(), found * due, (found - due).abs()
        return torch.cat([*parts, torch.ones_like(found[:, :1])], dim=1)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Return correlations and mean distances."""
        means = ratio(total[:, :-1], total[:, -1:])
        x, y, xx, yy, xy, apart = (means[:, [place, place + 1]] for place in range(0, 12, 2))
        spread, other_spread = xx - x.square(), yy - y.square()
        varied = (spread > CONSTANT) & (other_spread > CONSTANT)
        r = torch.where(varied, (xy - x * y) / (spread * other_spread).clamp(min=CONSTANT**2).sqrt(), 0.0)
        return dict(zip(self.better, (r[:, 0], apart[:, 0], r[:, 1], apart[:, 1]), strict=True))


def stroke_style(pixels: Tensor) -> Tensor:
    """Return stroke width in pixels and slant in degrees, (N, 2) float64, of uint8 images (N, 1, H, W).

    Raises:
        ValueError: If the images are not grey.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 1 or pixels.dtype != torch.uint8:
        raise ValueError(f"strokes are measured of grey images (N, 1, H, W) uint8, got {describe(pixels)}")
    ink = pixels[:, 0].double() / 255.0
    return torch.stack([stroke_width(ink), slant(ink)], dim=1)


def stroke_width(ink: Tensor) -> Tensor:
    """Return the mean width (N,) in pixels of strokes (N, H, W) in [0, 1]: twice their area over their outline.

    A stroke of width w and length L, much longer than wide, has area w L and an outline of 2 L. The outline is the
    total variation: the mean outline of all that is brighter than some level (the co-area formula, Fleming & Rishel
    1960), so that soft edges are measured as well as hard ones. Strokes narrower than 2 pixels, which may be wholly
    bright nowhere, look up to 2 wide. Without ink it is 0.
    """
    padded = F.pad(ink, (1, 1, 1, 1))
    rows, columns = padded.diff(dim=1), padded.diff(dim=2)
    down = (rows[:, :, 1:] + rows[:, :, :-1]) / 2
    right = (columns[:, 1:] + columns[:, :-1]) / 2
    outline = (down.square() + right.square()).sqrt().sum(dim=(1, 2))
    return 2.0 * ink.sum(dim=(1, 2)) / outline.clamp(min=1e-12)


def slant(ink: Tensor) -> Tensor:
    """Return by how many degrees (N,) writing (N, H, W) in [0, 1] leans to the right of upright.

    Its tangent is -mu_11 / mu_02, moments about the centre with y downwards: the shear that makes height and place
    across uncorrelated. Without ink, or with all of it in one row, it is 0.
    """
    y, x = (torch.arange(side, dtype=ink.dtype, device=ink.device) for side in ink.shape[1:])
    mass = ink.sum(dim=(1, 2)).clamp(min=1e-12)[:, None]
    dy, dx = y - ink.sum(dim=2) @ y[:, None] / mass, x - ink.sum(dim=1) @ x[:, None] / mass
    mu_11 = torch.einsum("nyx,ny,nx->n", ink, dy, dx)
    mu_02 = torch.einsum("nyx,ny,ny->n", ink, dy, dy)
    return torch.rad2deg(torch.atan2(-mu_11, mu_02))
