"""Whether each sample does what was asked of it: sums over samples, and scores that are functions of the sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from condgen.checks import describe
from condgen.metrics.intervals import bootstrap_sums
from condgen.types import Condition

LEAST = 4
"""The fewest samples whose scores get an interval."""


class Obedience(Metric, ABC):
    """Looks at samples one by one: each gives a row of numbers, and scores are made of the rows' sums.

    So an accuracy is hits over cases, an IoU is common over joint pixels of all samples, and a mean is a sum over a
    count. Intervals are the bootstrap's, from resamples of the samples (Efron 1979).

    Attributes:
        better: Whether `higher` or `lower` is better, by score.
        keys: The conditions that it compares with.
        needs_target: Whether it compares with the image that belongs to the condition.
    """

    better: ClassVar[dict[str, str]]
    keys: ClassVar[tuple[str, ...]] = ()
    needs_target: ClassVar[bool] = False
    full_state_update = False
    rows: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.seen: Tensor | None = None

    @abstractmethod
    def measure(self, image: Tensor, cond: Condition, target: Tensor | None) -> Tensor:
        """Return a row (N, S) for each sample: uint8 (N, C, H, W), its condition, and the image that belongs to it."""

    @abstractmethod
    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Return the scores (R,) of R sets of samples by the sums (R, S) of their rows."""

    @property
    def settings(self) -> dict[str, Any]:
        """What a reader must know to reproduce the scores."""
        return {}

    def update(self, image: Tensor, cond: Condition, target: Tensor | None) -> None:
        """Measure samples.

        Raises:
            ValueError: If the images are not uint8 (N, C, H, W), or not as many as conditions or targets.
        """
        if image.ndim != 4 or image.dtype != torch.uint8 or len(image) == 0:
            raise ValueError(f"images must be (N, C, H, W) uint8, N >= 1, got {describe(image)}")
        if self.needs_target and (target is None or target.shape != image.shape):
            raise ValueError(f"{type(self).__name__} needs a target like each image, got {describe(target)}")
        wrong = next((key for key, value in cond.items() if len(value) != len(image)), None)
        if wrong is not None:
            raise ValueError(f"condition {wrong!r} must have one row per image: {len(cond[wrong])} for {len(image)}")
        self.rows.append(self.measure(image, cond, target).double().to(image.device))

    def compute(self) -> dict[str, Tensor]:
        """Return the scores of all samples."""
        self.seen = dim_zero_cat(self.rows)
        return {name: value[0] for name, value in self.scores(self.seen.sum(dim=0, keepdim=True)).items()}

    def intervals(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the 95% interval of each score, between quantiles of resamples; none of fewer than four samples."""
        if self.seen is None:
            raise RuntimeError(f"{type(self).__name__}.compute must be called first")
        if len(self.seen) < LEAST:
            return {}
        drawn = self.scores(bootstrap_sums(self.seen.cpu()))
        ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
        return {name: tuple(value.quantile(ends)) for name, value in drawn.items()}

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self.seen = None


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole; NaN where there is no whole."""
    return torch.where(whole > 0, part / whole.clamp(min=1e-300), torch.nan)
