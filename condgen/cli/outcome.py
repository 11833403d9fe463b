"""What a run of `fit` reached, from its log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from condgen.report.history import Series

DISTANCES = ("fd_", "fid")


class Outcome(NamedTuple):
    """A validation score over a run.

    Attributes:
        score: Its name.
        last: Its last value.
        best: Its best value.
        images: Images seen at the best value.
        better: Whether `higher` or `lower` is better.
    """

    score: str
    last: float
    best: float
    images: int
    better: str


def outcomes(log: Mapping[str, Series], better: Mapping[str, str]) -> list[Outcome]:
    """Find the best of each score.

    Args:
        log: Values against images seen, by column.
        better: Whether `higher` or `lower` is better, by score; others are left out.
    """
    found = []
    for name, way in better.items():
        points = log.get(name)
        if points:
            images, best = (max if way == "higher" else min)(points, key=lambda point: point[1])
            found.append(Outcome(name, points[-1][1], best, int(images), way))
    return found


def told_first(found: list[Outcome], monitor: str | None) -> Outcome | None:
    """Choose the one to tell: what checkpoints are ranked by, else a distance, else the first."""
    wanted = [item for item in found if item.score == monitor]
    distances = [item for item in found if item.score.removeprefix("val/").startswith(DISTANCES)]
    return next(iter([*wanted, *distances, *found]), None)
