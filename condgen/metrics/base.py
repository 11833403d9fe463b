"""The contract of distribution metrics: features in, named scores out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from condgen.checks import describe
from condgen.metrics.intervals import everyone, jackknife_interval, random_halves


class Features(NamedTuple):
    """Features (N, D) float32 and labels (N,) int64 of a set of images."""

    features: Tensor
    label: Tensor | None


class DistributionMetric(Metric):
    """Compares features of generated images with features of real ones.

    The numbers of real and of generated images are independent. `compute` returns a dict of scores.
    """

    higher_is_better: bool | None = None
    full_state_update: bool | None = False
    better: dict[str, str]
    """What is good, for each score: `higher` or `lower`."""
    on_extractor: frozenset[str] = frozenset()
    """Scores that are distances in the extractor's space, and so carry its name."""
    needs_label_of: frozenset[str] = frozenset()
    """The sides, `real` and `fake`, that must come with labels."""

    @abstractmethod
    def update(self, features: Tensor, label: Tensor | None, *, real: bool) -> None:
        """Add features (N, D) float32 and, where known, labels (N,) int64."""

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Return the scores of all that was added, over all processes."""

    def intervals(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return a 95% interval, low and high, of each score that has one, of what `compute` saw."""
        return {}

    def per_class(self) -> dict[str, Tensor]:
        """Return tables by class of what `compute` saw, (K,) or (K, K)."""
        return {}

    def warnings(self) -> list[str]:
        """Return what a reader must know of the scores of what `compute` saw, a line each."""
        return []

    @property
    def settings(self) -> dict[str, Any]:
        """What a reader must know to reproduce the scores."""
        return {}


class FeatureStore(DistributionMetric):
    """Keeps all features of both sides, in the order of the processes, and scores subsets of the samples.

    The score is that of all samples; its interval is the jackknife's, from the scores of random halves of them.
    """

    least = 2
    """The fewest samples that can be scored."""
    limits: dict[str, tuple[float, float]] = {}  # noqa: RUF012
    """Ends of the range of scores that have one; intervals stay within."""
    real: list[Tensor]
    fake: list[Tensor]
    real_label: list[Tensor]
    fake_label: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("real", "fake", "real_label", "fake_label"):
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self.seen: tuple[Features, Features] | None = None
        self.values: dict[str, Tensor] = {}

    @abstractmethod
    def measure(self, real: Features, fake: Features, member: Tensor) -> dict[str, Tensor]:
        """Return the scores (R,) of R sets of samples; set r holds the samples where member (M, R) bool is true."""

    def update(self, features: Tensor, label: Tensor | None, *, real: bool) -> None:
        """Keep features and labels."""
        check_features(features)
        side = "real" if real else "fake"
        if label is None and side in self.needs_label_of:
            raise ValueError(f"{type(self).__name__} needs the labels of {NAMES[side]} images")
        if label is not None and label.shape != features.shape[:1]:
            raise ValueError(f"{len(features)} {NAMES[side]} images have labels {describe(label)}")
        (self.real if real else self.fake).append(features)
        if label is not None:
            (self.real_label if real else self.fake_label).append(label)

    def compute(self) -> dict[str, Tensor]:
        """Return the scores of all samples."""
        real, fake = self.seen = self.both()
        values = self.measure(real, fake, everyone(fake.features))
        self.values = {name: value[0] for name, value in values.items()}
        return self.values

    def intervals(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return value ± t SE; none where half of the samples are too few to be scored."""
        real, fake = self.last_seen()
        if len(fake.features) < 2 * self.least:
            return {}
        member = random_halves(*fake)
        halves = self.measure(real, fake, member)
        return {
            name: jackknife_interval(value, halves[name], member, self.limits.get(name))
            for name, value in self.values.items()
        }

    def last_seen(self) -> tuple[Features, Features]:
        """Return the real and the generated images that `compute` saw."""
        if self.seen is None:
            raise RuntimeError(f"{type(self).__name__}.compute must be called first")
        return self.seen

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self.seen, self.values = None, {}

    def both(self) -> tuple[Features, Features]:
        """Return all real and all generated images.

        Raises:
            ValueError: If a side is empty, or the two do not have equally many features.
        """
        real, fake = self.side("real"), self.side("fake")
        dims = real.features.shape[1], fake.features.shape[1]
        if dims[0] != dims[1]:
            raise ValueError(f"real images have {dims[0]} features, generated ones {dims[1]}")
        return real, fake

    def side(self, name: str) -> Features:
        """Return the images of one side, `real` or `fake`."""
        features = joined(getattr(self, name))
        if features is None:
            raise ValueError(f"{type(self).__name__} has no {NAMES[name]} images")
        return Features(features, joined(getattr(self, f"{name}_label")))


def joined(parts: list[Tensor] | Tensor) -> Tensor | None:
    """Concatenate a state, a tensor already where processes were gathered, and an empty one if none had a part."""
    if isinstance(parts, Tensor):
        return parts if len(parts) else None
    return torch.cat(parts) if len(parts) > 1 else parts[0] if parts else None


NAMES = {"real": "real", "fake": "generated"}


def check_features(features: Tensor) -> None:
    """Refuse features that are not (N, D) float32 and finite."""
    if features.ndim != 2 or features.dtype != torch.float32:
        raise ValueError(f"features must be (N, D) float32, got {describe(features)}")
    finite = torch.isfinite(features).all(dim=1)
    if not finite.all():
        bad = (~finite).nonzero()[:, 0]
        raise ValueError(f"features must be finite, but those of {len(bad)} of {len(features)} images are not")
