"""Fréchet distance between Gaussians fitted to features (Heusel et al. 2017, Eq. 6)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from condgen.metrics.base import Features, FeatureStore

ROWS = 4096
"""Images at a time in float64."""
COLUMNS = 256
"""Columns at a time of a symmetric product, of which one triangle is computed."""
SOUND_PIVOT = 1e-10
"""Share of a feature's variance that the features before it must leave, for a Cholesky root to be exact."""


class Gaussian(NamedTuple):
    """Mean (D,) and covariance root @ root.T, root (D, R), float64; the covariance itself where it has full rank."""

    mean: Tensor
    root: Tensor
    covariance: Tensor | None


class FrechetDistance(FeatureStore):
    """Fréchet distance of two Gaussians (Heusel et al. 2017), in float64; its Inception form is FID.

    |mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2)), finite whatever the rank.
    """

    better = {"fd": "lower"}  # noqa: RUF012
    on_extractor = frozenset({"fd"})
    limits = {"fd": (0.0, float("inf"))}  # noqa: RUF012

    def measure(self, real: Features, fake: Features, member: Tensor) -> dict[str, Tensor]:
        """Return `fd`."""
        fixed = fit_gaussian(real.features)
        sets = (fake.features if chosen.all() else fake.features[chosen] for chosen in member.T)
        return {"fd": torch.stack([frechet_distance(fixed, fit_gaussian(x)) for x in sets])}

    def warnings(self) -> list[str]:
        """Name a side whose covariance cannot have full rank: its distances say more of the number than of images."""
        sides = zip(("real images", "samples"), self.last_seen(), strict=True)
        return [rank_warning(len(x), name, x.shape[1]) for name, (x, _) in sides if len(x) < x.shape[1] + 1]


def rank_warning(count: int, what: str, dim: int) -> str:
    """Say that a covariance has no full rank."""
    return f"{count} {what} for {dim} features: the covariance has no full rank"


def frechet_distance(a: Gaussian, b: Gaussian) -> Tensor:
    """Return the squared Fréchet distance of two Gaussians, at least 0.

    With S_a = A A' and S_b = B B', tr (S_a S_b)^(1/2) is the sum of the roots of the eigenvalues of A' S_b A, and
    equals the nuclear norm of A' B. The first is fast, the second exact where a rank is short.
    """
    if a.covariance is not None and b.covariance is not None:
        trace_root = torch.linalg.eigvalsh(congruent(a.root, b.covariance)).clamp(min=0).sqrt().sum()
    else:
        trace_root = torch.linalg.svdvals(a.root.T @ b.root).sum()
    distance = (a.mean - b.mean).square().sum() + a.root.square().sum() + b.root.square().sum() - 2 * trace_root
    clamped: Tensor = distance.clamp(min=0)
    return clamped


def fit_gaussian(x: Tensor) -> Gaussian:
    """Fit mean and unbiased covariance to features (N, D), N >= 2.

    The root is the centred features themselves where N <= D; else the Cholesky factor of the covariance; and where that
    is (nearly) singular, as of dead features, the triangular factor of the centred features.
    """
    n, d = x.shape
    if n < 2:
        raise ValueError(f"a Gaussian needs at least 2 images, got {n}")
    mean = torch.stack([part.double().sum(dim=0) for part in x.split(ROWS)]).sum(dim=0) / n
    if n <= d:
        return Gaussian(mean, (x.double() - mean).T / (n - 1) ** 0.5, None)
    covariance = torch.zeros(d, d, dtype=torch.float64, device=x.device)
    for part in x.split(ROWS):
        add_outer(covariance, part.double() - mean)
    covariance = covariance.div_(n - 1).triu_()
    covariance += covariance.triu(1).T
    root, failed = torch.linalg.cholesky_ex(covariance)
    if failed or (root.diagonal().square() < SOUND_PIVOT * covariance.diagonal()).any():
        return Gaussian(mean, triangular_factor(x, mean).T / (n - 1) ** 0.5, None)
    return Gaussian(mean, root, covariance)


def add_outer(total: Tensor, x: Tensor) -> None:
    """Add the upper triangle of x' x, in blocks, to `total` (D, D)."""
    for start in range(0, x.shape[1], COLUMNS):
        total[start : start + COLUMNS, start:].addmm_(x[:, start : start + COLUMNS].T, x[:, start:])


def congruent(root: Tensor, covariance: Tensor) -> Tensor:
    """Return the lower triangle, in blocks, of root' covariance root for a lower triangular root (D, D)."""
    out = torch.zeros_like(covariance)
    for start in range(0, len(root), COLUMNS):
        columns = slice(start, start + COLUMNS)
        product = covariance[start:, start:] @ root[start:, columns]
        out[start:, columns] = root[start:, start:].T @ product
    return out


def triangular_factor(x: Tensor, mean: Tensor) -> Tensor:
    """Return R (D, D) of the centred features' QR decomposition, so that R' R is their scatter."""
    d = x.shape[1]
    factor = torch.zeros(0, d, dtype=torch.float64, device=x.device)
    for part in x.split(max(ROWS, d)):
        factor = torch.linalg.qr(torch.cat([factor, part.double() - mean]), mode="r").R
    return factor
