"""Scores of each class by itself, which see what the whole hides: classes that look alike, or have one image only."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.metrics.base import NAMES, Features, FeatureStore
from condgen.metrics.frechet import fit_gaussian, frechet_distance, rank_warning


class RareClassError(ValueError):
    """A class has too few images on a side to be scored by itself."""


class ClasswiseMetric(FeatureStore):
    """The mean over classes of a score of each class's samples against its real images."""

    needs_label_of = frozenset({"real", "fake"})
    table: str
    """Name of the score by class."""

    def __init__(self) -> None:
        super().__init__()
        self.by_class: Tensor | None = None

    @abstractmethod
    def measure_class(self, real: Tensor, fake: Tensor, member: Tensor) -> Tensor:
        """Return the scores (R,) of R sets of a class's samples, (M, D), against its real images (N, D)."""

    def measure(self, real: Features, fake: Features, member: Tensor) -> dict[str, Tensor]:
        """Return the mean over classes, and keep the table of the first set, that of all samples."""
        values = []
        for number in range(class_count(real, fake)):
            mine = fake.label == number
            values.append(self.measure_class(real.features[real.label == number], fake.features[mine], member[mine]))
        classes = torch.stack(values)
        if member.all():
            self.by_class = classes[:, 0]
        return {name: classes.mean(dim=0) for name in self.better}

    def intervals(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return value ± t SE; none where half of a class is too few to be scored."""
        label = self.last_seen()[1].label
        assert label is not None
        return super().intervals() if label.bincount().min() >= 2 * self.least else {}

    def per_class(self) -> dict[str, Tensor]:
        """Return the score of each class."""
        return {} if self.by_class is None else {self.table: self.by_class}

    def both(self) -> tuple[Features, Features]:
        """Return all images; refuse classes that a side lacks."""
        sides = super().both()
        check_classes(*sides)
        return sides


class IntraClassFrechetDistance(ClasswiseMetric):
    """Mean over classes of the Fréchet distance of a class's samples from its real images (Miyato & Koyama 2018)."""

    better = {"intra_fd": "lower"}  # noqa: RUF012
    on_extractor = frozenset({"intra_fd"})
    limits = {"intra_fd": (0.0, float("inf"))}  # noqa: RUF012
    table = "fd"

    def measure_class(self, real: Tensor, fake: Tensor, member: Tensor) -> Tensor:
        """Return the Fréchet distances."""
        fixed = fit_gaussian(real)
        return torch.stack([frechet_distance(fixed, fit_gaussian(fake[chosen])) for chosen in member.T])

    def warnings(self) -> list[str]:
        """Name a side with a class whose covariance cannot have full rank."""
        lines = []
        for name, (x, label) in zip(("real images", "samples"), self.last_seen(), strict=True):
            assert label is not None
            fewest = int(label.bincount().min())
            if fewest < x.shape[1] + 1:
                lines.append(rank_warning(fewest, f"{name} of a class", x.shape[1]))
        return lines


class Diversity(ClasswiseMetric):
    """Mean over classes of how far apart a class's samples are, over how far its real images are; 0 is constant.

    Far apart is the mean squared distance of pairs of features that are normalised to length 1, as in LPIPS (Zhang et
    al. 2018) with the features of the whole image in place of its patches.
    """

    better = {"diversity": "higher"}  # noqa: RUF012
    limits = {"diversity": (0.0, float("inf"))}  # noqa: RUF012
    table = "diversity"

    def measure_class(self, real: Tensor, fake: Tensor, member: Tensor) -> Tensor:
        """Return the ratios.

        Raises:
            ValueError: If all real images of the class have the same features.
        """
        everything = torch.ones(len(real), 1, dtype=torch.bool, device=real.device)
        expected = pair_distance(real, everything)
        if expected <= 0:
            raise ValueError("all real images of a class have the same features: no diversity to compare with")
        return pair_distance(fake, member) / expected


def pair_distance(features: Tensor, member: Tensor) -> Tensor:
    """Return the mean squared distance of pairs of unit vectors in each set, (R,), by deviations from the mean."""
    unit = F.normalize(features.double(), dim=1)
    chosen, count = member.double(), member.sum(dim=0)
    unit = unit - unit.mean(dim=0)
    scatter = chosen.T @ unit.square().sum(dim=1) - (chosen.T @ unit).square().sum(dim=1) / count
    return (2.0 * scatter / (count - 1)).clamp(min=0)


def class_count(real: Features, fake: Features) -> int:
    """Return the number of classes."""
    return 1 + max(int(side.label.max()) for side in (real, fake) if side.label is not None)


def check_classes(real: Features, fake: Features) -> None:
    """Refuse classes with fewer than 2 images on a side, and name them."""
    classes = class_count(real, fake)
    for side, (_, label) in zip(("real", "fake"), (real, fake), strict=True):
        assert label is not None
        rare = (label.bincount(minlength=classes) < 2).nonzero()[:, 0].tolist()
        if rare:
            what = f"class {rare[0]} has" if len(rare) == 1 else f"classes {', '.join(map(str, rare))} have"
            raise RareClassError(f"{what} fewer than 2 {NAMES[side]} images, too few to be scored by itself")
