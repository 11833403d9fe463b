"""Fréchet distance between Gaussians fitted to features (Heusel et al. 2017, Eq. 6)."""

from __future__ import annotations

import torch
from torch import Tensor

from condgen.metrics.base import DistributionMetric, check_features


class FrechetDistance(DistributionMetric):
    """|mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2)), from sums kept in float64."""

    better = {"fd": "lower"}  # noqa: RUF012
    on_extractor = frozenset({"fd"})

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        for side in ("real", "fake"):
            self.add_state(f"{side}_count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
            self.add_state(f"{side}_sum", torch.zeros(feature_dim, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(
                f"{side}_outer", torch.zeros(feature_dim, feature_dim, dtype=torch.float64), dist_reduce_fx="sum"
            )

    def update(self, features: Tensor, label: Tensor | None, *, real: bool) -> None:
        """Add to one side's sums."""
        check_features(features)
        side, x = "real" if real else "fake", features.double()
        getattr(self, f"{side}_count").add_(len(x))
        getattr(self, f"{side}_sum").add_(x.sum(dim=0))
        getattr(self, f"{side}_outer").addmm_(x.T, x)

    def compute(self) -> dict[str, Tensor]:
        """Return `fd`."""
        return {"fd": frechet_distance(*self._gaussian("real"), *self._gaussian("fake"))}

    def _gaussian(self, side: str) -> tuple[Tensor, Tensor]:
        count = getattr(self, f"{side}_count")
        if count < 2:
            raise ValueError(f"FrechetDistance needs at least 2 images on the {side} side, got {int(count)}")
        mean = getattr(self, f"{side}_sum") / count
        return mean, (getattr(self, f"{side}_outer") - count * torch.outer(mean, mean)) / (count - 1)


def frechet_distance(mean_1: Tensor, cov_1: Tensor, mean_2: Tensor, cov_2: Tensor) -> Tensor:
    """Return the squared Fréchet distance of two Gaussians, at least 0; float64 in, float64 out.

    tr (S_1 S_2)^(1/2) is the sum of the roots of the eigenvalues of L' S_2 L with S_1 = L L' (Cholesky); where S_1 is
    singular, it is the nuclear norm of A_1' A_2 with S_i = A_i A_i'.
    """
    factor, failed = torch.linalg.cholesky_ex(cov_1)
    if failed:
        trace_root = torch.linalg.svdvals(square_root_factor(cov_1).T @ square_root_factor(cov_2)).sum()
    else:
        trace_root = without_noise(torch.linalg.eigvalsh(factor.T @ cov_2 @ factor)).sqrt().sum()
    distance = (mean_1 - mean_2).square().sum() + cov_1.trace() + cov_2.trace() - 2 * trace_root
    clamped: Tensor = distance.clamp(min=0)
    return clamped


def square_root_factor(cov: Tensor) -> Tensor:
    """Return A with A A' = cov for a positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(cov)
    factor: Tensor = vectors * without_noise(values).sqrt()
    return factor


def without_noise(eigenvalues: Tensor) -> Tensor:
    """Set to 0 what rounding alone makes of a zero among ascending eigenvalues, since its root would be large."""
    noise = eigenvalues[-1].abs() * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps
    return torch.where(eigenvalues > noise, eigenvalues, 0)
