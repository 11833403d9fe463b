"""Whether a generator gives back its training images."""

from __future__ import annotations

import torch
from torch import Tensor

from condgen.metrics.base import Features, FeatureStore, check_features, joined
from condgen.metrics.intervals import wilson_interval
from condgen.metrics.neighbours import nearest
from condgen.seeding import generator

MOST = 50_000
"""Training images that samples are compared with, at most."""


def training_images(count: int) -> Tensor:
    """Choose at most `MOST` of a number of training images at random, always the same; return their places in order."""
    return torch.randperm(count, generator=generator("training images"))[:MOST].sort().values


class Memorisation(FeatureStore):
    """How much nearer samples lie to training images than to real images that were held out.

    Of N training and H held-out images of one distribution, a sample's nearest is a held-out one with probability
    H / (N + H), whatever the samples look like. The score is 1 - (share of samples whose nearest is held out) /
    (that probability): 0 where nothing is memorised, give or take chance, and 1 where each sample's nearest is a
    training image. It asks what the C_T test asks (Meehan et al. 2020), by which image is nearest, not how near it is.

    The real side of `update` is the held-out images.
    """

    better = {"memorisation": "lower"}  # noqa: RUF012
    train_images: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("train_images", default=[], dist_reduce_fx="cat")
        self.held_out_nearer = torch.zeros(0)
        self.nearest_image = torch.zeros(0, dtype=torch.int64)
        self.expected = 0.5

    def update_train(self, features: Tensor) -> None:
        """Add features (N, D) float32 of training images."""
        check_features(features)
        self.train_images.append(features)

    def measure(self, real: Features, fake: Features, member: Tensor) -> dict[str, Tensor]:
        """Return `memorisation`; a sample as near to both kinds counts half."""
        train = joined(self.train_images)
        if train is None:
            raise ValueError("Memorisation has no training images")
        (to_train, image), (to_held_out, other) = (nearest(fake.features, x, 1) for x in (train, real.features))
        self.nearest_image = torch.where(to_train < to_held_out, image, len(train) + other)[:, 0]
        tied = to_held_out == to_train
        self.held_out_nearer = ((to_held_out < to_train).double() + 0.5 * tied.double())[:, 0]
        self.expected = len(real.features) / (len(train) + len(real.features))
        return {"memorisation": 1.0 - self.held_out_nearer.mean()[None] / self.expected}

    def intervals(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return Wilson's interval of the share, for the effective number of images that are nearest to a sample.

        Chance decides which of those were held out, so samples that are all nearest to a few images prove nothing.
        """
        uses = self.nearest_image.bincount().double()
        count = uses.sum().square() / uses.square().sum()
        low, high = wilson_interval(self.held_out_nearer.mean() * count, count)
        return {"memorisation": (1.0 - high / self.expected, 1.0 - low / self.expected)}
