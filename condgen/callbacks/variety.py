"""How unlike each other images are, and what a watch remembers of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 8
"""Images are averaged down to this side at most, and to half of theirs at least, which takes most pixel noise out."""
GROUPS = 4
"""Groups of real images per class that are measured."""


def reduced(image: Tensor) -> Tensor:
    """Average (N, C, H, W) down to at most 8x8 pixels, as rows (N, D) float32 on the CPU."""
    height, width = (min(SIDE, max(1, size // 2)) for size in image.shape[-2:])
    return F.adaptive_avg_pool2d(image.float(), (height, width)).flatten(1).cpu()


def variety(rows: Tensor) -> float:
    """Return the mean distance from each of the rows (N, D) to the nearest other one.

    It is 0 if all rows are equal and, unlike the mean distance of all pairs, near 0 if they are copies of a few.
    """
    distance = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    return float(distance.fill_diagonal_(torch.inf).amin(dim=1).mean())


@dataclass
class VarietyRecord:
    """What is known of a class, or of all that a model is asked for.

    Attributes:
        waiting: Real images of the class, reduced, that do not fill a group yet.
        groups: Groups of real images measured.
        real_sum: Sum of their varieties.
        now: Variety of the last samples, over that of real images; null before the first.
        best: Largest such ratio so far.
        low: Checks in a row that count as low.
        collapsed: Whether the alarm was given.
    """

    waiting: Tensor | None = None
    groups: int = 0
    real_sum: float = 0.0
    now: float | None = None
    best: float = 0.0
    low: int = 0
    collapsed: bool = False

    def add_real(self, rows: Tensor, group: int) -> None:
        """Measure real images (N, D) in groups of `group`, as many as samples are compared at a time."""
        rows = rows if self.waiting is None else torch.cat([self.waiting, rows])
        while len(rows) >= group and self.groups < GROUPS:
            self.real_sum += variety(rows[:group])
            self.groups += 1
            rows = rows[group:]
        self.waiting = rows.clone() if self.groups < GROUPS else None

    def judge(self, ratio: float, threshold: float, young: bool) -> None:
        """Count a check; before variety has ever reached the threshold, neither young checks nor growth are low."""
        learning = self.best < threshold and (young or ratio > self.best + 0.05 * threshold)
        self.low = self.low + 1 if ratio < threshold and not learning else 0
        self.now, self.best = ratio, max(self.best, ratio)
