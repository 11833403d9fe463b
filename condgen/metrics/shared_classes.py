"""Labels of two sets of images in one numbering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Labelled(NamedTuple):
    """What a set of images says of itself: labels (N,) int64 where known, and their names where they have some."""

    title: str
    label: Tensor | None
    names: Sequence[str] | None


class SharedClasses(NamedTuple):
    """Class names, none without labels; both sides' labels as places in them; a line for each side that lacks some."""

    names: list[str]
    real: Tensor | None
    fake: Tensor | None
    warnings: list[str]


def share_classes(real: Labelled, fake: Labelled) -> SharedClasses:
    """Number the classes of the samples as those of the real images.

    Names are matched by name. Numbers without names are places in the other side's names, or their own names.

    Raises:
        ValueError: If one side has a class that the other does not know of.
    """
    names = class_names(real, fake)
    labels = [side.label if side.names is None else renumbered(side, names) for side in (real, fake)]
    for side, label in zip((real, fake), labels, strict=True):
        if label is not None and int(label.max()) >= len(names):
            other = fake if side is real else real
            raise ValueError(f"{side.title} has class {int(label.max())}, and {other.title} only {len(names)} classes")
    return SharedClasses(names, labels[0], labels[1], missing(names, (real, fake), labels))


def class_names(real: Labelled, fake: Labelled) -> list[str]:
    """Name the classes as the real images do, else as the samples do, else by numbers."""
    sides = [side for side in (real, fake) if side.label is not None]
    named = next((list(side.names) for side in sides if side.names is not None), None)
    numbered = any(side.names is None for side in sides)
    if named is not None and not (numbered and all(name.isdecimal() for name in named)):
        if numbered and real.names is None:
            raise ValueError(f"{real.title} has numbers for classes, and {fake.title} names: {', '.join(named[:12])}")
        return named
    if named is not None and real.names is not None and named == [str(place) for place in range(len(named))]:
        return named
    highest = [int(side.label.max()) for side in sides if side.label is not None and side.names is None]
    return [str(number) for number in range(max([*highest, *map(int, named or [])], default=-1) + 1)]


def renumbered(side: Labelled, names: list[str]) -> Tensor | None:
    """Return labels as places in other names."""
    if side.label is None or side.names is None or list(side.names) == names:
        return side.label
    unknown = [name for name in side.names if name not in names]
    if unknown:
        raise ValueError(f"{side.title} has class {unknown[0]!r}, and the other side {', '.join(names[:12])}")
    return torch.tensor([names.index(name) for name in side.names])[side.label]


def missing(names: list[str], sides: Sequence[Labelled], labels: Sequence[Tensor | None]) -> list[str]:
    """Name the classes of which one side has too few to be scored by themselves."""
    lines = []
    for side, label in zip(sides, labels, strict=True):
        counts = [] if label is None else label.bincount(minlength=len(names)).tolist()
        rare = [name for name, count in zip(names, counts, strict=False) if count < 2]
        if rare:
            lines.append(
                f"{side.title} has fewer than 2 images of {len(rare)} of {len(names)} classes "
                f"({', '.join(rare[:12])}{', ...' * (len(rare) > 12)}): scores by class are left out"
            )
    return lines
