"""How sure a score is: intervals for the draw of the samples, the real images being fixed by the protocol."""

from __future__ import annotations

import torch
from torch import Tensor

from condgen.seeding import generator

HALVES = 20
T_19 = 2.093
"""97.5% point of Student's t with HALVES - 1 degrees of freedom."""
Z = 1.960
RESAMPLES = 2000


def everyone(samples: Tensor) -> Tensor:
    """Return the one set of all samples as a column of trues (M, 1)."""
    return torch.ones(len(samples), 1, dtype=torch.bool, device=samples.device)


def random_halves(samples: Tensor, label: Tensor | None) -> Tensor:
    """Return which samples belong to each of 20 random halves, (M, 20) bool; each halves every class, to one sample."""
    source = generator("halves")
    member = torch.zeros(HALVES, len(samples), dtype=torch.bool)
    for row in member:
        order = torch.randperm(len(samples), generator=source)
        if label is not None:
            order = order[label.cpu()[order].argsort(stable=True)]
        row[order[::2]] = True
    return member.T.contiguous().to(samples.device)


def jackknife_error(halves: Tensor, member: Tensor) -> Tensor:
    """Return the standard error by the delete-half jackknife (Shao & Wu 1989), about the halves' own mean.

    So a bias that depends on the number of samples, as the Fréchet distance has, does not count as uncertainty.

    Args:
        halves: The score of each half, (R,).
        member: Which samples each half holds, (M, R) bool.
    """
    kept = member[:, 0].sum()
    return (halves.double().var() * kept / (len(member) - kept)).sqrt()


def jackknife_interval(
    value: Tensor, halves: Tensor, member: Tensor, limits: tuple[float, float] | None = None
) -> tuple[Tensor, Tensor]:
    """Return value ± t SE, within the limits of the score."""
    return around(value, T_19 * jackknife_error(halves, member), limits)


def around(value: Tensor, margin: Tensor, limits: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
    """Return value ± margin, within limits."""
    low, high = limits or (-float("inf"), float("inf"))
    return (value - margin).clamp(min=low), (value + margin).clamp(max=high)


def wilson_interval(hits: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return the 95% interval of a proportion (Wilson 1927), which is right near 0 and 1 too."""
    share, n = hits.double() / count, count.double()
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    margin = Z / (1 + Z**2 / n) * (share * (1 - share) / n + Z**2 / (4 * n**2)).sqrt()
    return centre - margin, centre + margin


def bootstrap_sums(rows: Tensor) -> Tensor:
    """Return the sums (R, S) of 2,000 bootstrap resamples of rows (M, S) float64: M of them drawn with replacement.

    The draws are the same for any rows of one number, so that differences of two sets' scores are those of pairs.
    """
    source, count = generator("bootstrap", len(rows)), len(rows)
    draws = (torch.randint(count, (count,), generator=source) for _ in range(RESAMPLES))
    return torch.stack([draw.bincount(minlength=count).to(rows) @ rows for draw in draws])
