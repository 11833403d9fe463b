"""Which rows are for training, validation and test: as folders say, or at random, the classes in proportion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from condgen.data.base import Split
from condgen.seeding import generator

NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""What splits are called."""


@dataclass(frozen=True)
class RandomSplit:
    """How splits that are not given are cut out of the training images.

    Args:
        validation: Share of the images for validation.
        test: Share of the images for test.
        seed: Seed of the choice.
    """

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("validation", self.validation), ("test", self.test)):
            if not 0.0 < value < 1.0:
                raise ValueError(f"split.{name} must be above 0 and below 1, got {value}")
        if self.validation + self.test >= 1.0:
            raise ValueError(f"split leaves nothing for training: {self.validation} + {self.test}")

    def complete(
        self, given: Mapping[Split, Tensor], strata: Tensor, groups: Tensor | None = None
    ) -> dict[Split, Tensor]:
        """Cut validation and test, where they are not given, out of the training rows.

        Args:
            given: Places of each split's rows that is given; `train` is there.
            strata: (N,) int64, the class of each row: each is cut in proportion.
            groups: (N,) int64, rows of one group stay together; each row is its own by default.
        """
        groups = torch.arange(len(strata)) if groups is None else groups
        out = dict(given)
        missing = [(name, share) for name, share in self._shares() if name not in given]
        rows = out["train"]
        members, first = first_of_each(groups[rows])
        chosen = deal(strata[rows][first], [share for _, share in missing], self.seed)
        out["train"] = rows[chosen[members] == 0]
        for number, (name, _) in enumerate(missing, start=1):
            out[name] = rows[chosen[members] == number]
        return out

    def _shares(self) -> Sequence[tuple[Split, float]]:
        return ("validation", self.validation), ("test", self.test)


def first_of_each(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Number the groups; return the number of each row's (N,), and the first row of each group (G,)."""
    values, members = groups.unique(return_inverse=True)
    first = torch.full((len(values),), len(groups), dtype=torch.int64)
    first.scatter_reduce_(0, members, torch.arange(len(groups)), "amin")
    return members, first


def deal(strata: Tensor, shares: Sequence[float], seed: int) -> Tensor:
    """Deal rows out at random: 0 for the rest, i for a share shares[i - 1], in proportion in each stratum.

    Counts are rounded so that they add up over the strata.
    """
    out = torch.zeros(len(strata), dtype=torch.int64)
    done, dealt = 0, [0] * len(shares)
    for stratum in strata.unique().tolist():
        rows = (strata == stratum).nonzero().squeeze(1)
        rows = rows[torch.randperm(len(rows), generator=generator(seed, "split", stratum))]
        done += len(rows)
        for number, share in enumerate(shares):
            count = round(share * done) - dealt[number]
            out[rows[:count]] = number + 1
            rows, dealt[number] = rows[count:], dealt[number] + count
    return out


def split_of(name: str) -> Split | None:
    """Return the split that a word names; None if it names none."""
    return NAMES.get(name.lower())


def check_trained(label: Tensor, names: Sequence[str], where: str) -> None:
    """Refuse classes without training images.

    Args:
        label: (N,) int64, those of the training images.
        names: Names of the classes.
        where: What the error calls their source.
    """
    if missing := set(range(len(names))) - set(label.tolist()):
        raise ValueError(f"class {names[min(missing)]} of {where} has no training images")
