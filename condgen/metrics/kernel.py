"""Kernel distance: squared maximum mean discrepancy with a cubic kernel (Bińkowski et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from condgen.metrics.base import Features, FeatureStore
from condgen.metrics.intervals import T_19, around, jackknife_error, random_halves
from condgen.seeding import generator

DEFAULT_SUBSET_SIZE = 300
MOST = 10_000
"""Images of each side that an interval looks at; the error of more is less by the root of their number."""
ROWS = 512


class KernelDistance(FeatureStore):
    """Kernel distance MMD^2 (Bińkowski et al. 2018), a mean over random subsets; its Inception form is KID.

    The kernel is (x'y / D + 1)^3, the estimate on a subset unbiased.

    Args:
        subsets: Number of subsets.
        subset_size: Images per subset and side; null for 300, or as many as the smaller side has.
    """

    better = {"kid": "lower"}  # noqa: RUF012
    on_extractor = frozenset({"kid"})

    def __init__(self, subsets: int = 100, subset_size: int | None = None) -> None:
        super().__init__()
        if subsets < 1 or (subset_size is not None and subset_size < 2):
            raise ValueError(f"needs subsets >= 1 and subset_size >= 2, got {subsets} and {subset_size}")
        self.subsets = subsets
        self.subset_size = subset_size
        self.used_size = subset_size or DEFAULT_SUBSET_SIZE
        self.estimates = torch.zeros(0, dtype=torch.float64)

    @property
    def settings(self) -> dict[str, Any]:
        """The subsets, with the size that the last `compute` used."""
        return {"kid_subsets": self.subsets, "kid_subset_size": self.used_size}

    def measure(self, real: Features, fake: Features, member: Tensor) -> dict[str, Tensor]:
        """Return `kid` of all samples.

        Raises:
            ValueError: If a side has fewer images than `subset_size` asks for, or than 2.
        """
        sizes = len(real.features), len(fake.features)
        self.used_size = self.subset_size or min(DEFAULT_SUBSET_SIZE, *sizes)
        if not 2 <= self.used_size <= min(sizes):
            raise ValueError(
                f"kid: subsets of {self.used_size} images of {sizes[0]} real and {sizes[1]} generated ones"
            )
        self.estimates = kernel_distances(real.features, fake.features, self._subsets(*sizes))
        return {"kid": self.estimates.mean()[None]}

    def _subsets(self, *sizes: int) -> Iterator[list[Tensor]]:
        source = generator("kid")
        for _ in range(self.subsets):
            yield [torch.randperm(size, generator=source)[: self.used_size] for size in sizes]

    def intervals(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return value ± t SE: the error of the estimate by all samples, and that of the choice of subsets."""
        real, fake = self.last_seen()
        if len(fake.features) < 2 * self.least:
            return {}
        x, y = few(real), few(fake)
        member = random_halves(*y)
        error = jackknife_error(squared_mmd_of_sets(x.features, y.features, member), member)
        of_samples = error.square() * len(member) / len(fake.features)
        of_subsets = self.estimates.var(correction=0) / self.subsets
        return {"kid": around(self.values["kid"], T_19 * (of_samples + of_subsets).sqrt())}


def few(side: Features) -> Features:
    """Choose images for the interval at random."""
    rows = torch.randperm(len(side.features), generator=generator("kid", "interval"))[:MOST].to(side.features.device)
    return Features(side.features[rows], None if side.label is None else side.label[rows])


def kernel_distances(real: Tensor, fake: Tensor, subsets: Iterable[Iterable[Tensor]]) -> Tensor:
    """Return the estimate by each pair of subsets, given as rows of the two sides."""
    values = []
    for rows in subsets:
        x, y = (side[index.to(side.device)].double() for side, index in zip((real, fake), rows, strict=True))
        values.append(squared_mmd(x, y))
    return torch.stack(values)


def cubic_kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return (x'y / D + 1)^3 of all pairs of rows."""
    base = (x @ y.T).div_(x.shape[1]).add_(1.0)
    return base * base * base


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Return the unbiased estimate for equally many rows, (N, D) float64 (Gretton et al. 2012, Eq. 3)."""
    n = len(x)
    within = [(k.sum() - k.trace()) / (n * (n - 1)) for k in (cubic_kernel(a, a) for a in (x, y))]
    return within[0] + within[1] - 2.0 * cubic_kernel(x, y).mean()


def squared_mmd_of_sets(real: Tensor, fake: Tensor, member: Tensor) -> Tensor:
    """Return the estimate by each set of samples against all real images (R,), but for a term of real images alone."""
    chosen = member.double()
    count = chosen.sum(dim=0)
    within, between = torch.zeros_like(count), torch.zeros_like(count)
    y, x = fake.double(), real.double()
    for start in range(0, len(y), ROWS):
        rows = slice(start, start + ROWS)
        kernel = cubic_kernel(y[rows], y)
        kernel.diagonal(offset=start).zero_()
        within += ((kernel @ chosen) * chosen[rows]).sum(dim=0)
        between += cubic_kernel(y[rows], x).mean(dim=1) @ chosen[rows]
    return within / (count * (count - 1)) - 2.0 * between / count
