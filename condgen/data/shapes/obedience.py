"""Whether pictures show the facts that were asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from condgen.data.shapes.checker import Measured
from condgen.data.shapes.facts import UNKNOWN, Facts

NAMES = ("shape", "colour", "size_name")
POSITION = 2 / 32
"""Two pixels of a picture of 32."""


def obeyed_names(measured: Measured, asked: Facts) -> dict[str, Tensor]:
    """Compare by name: one bool (N, K) for each fact of an object, (N, 1) for those of the picture.

    Facts are `shape`, `colour`, `size_name`, `cell` (of one object), `relation` (of two) and `count`. What was not
    asked for is obeyed. Two objects are compared in the order that agrees in more names.
    """
    facts = matched(measured.facts, asked)
    where = "cell" if asked.shape.shape[1] == 1 else "relation"
    names = {name: agree(getattr(facts, name), getattr(asked, name)) for name in (*NAMES, where)}
    return names | counted(measured, asked)


def obeyed_numbers(
    measured: Measured, asked: Facts, size: float = 0.15, position: float = POSITION
) -> dict[str, Tensor]:
    """Compare `shape` and `colour` by name, `size` and `position` as numbers: bool (N, K), `count` (N, 1).

    Args:
        measured: What the pictures show.
        asked: What they should show; what is NaN or -1 is obeyed.
        size: Largest relative error.
        position: Largest distance of the centroids, as a fraction of the side.
    """
    facts = matched(measured.facts, asked)
    distance = torch.hypot(facts.x - asked.x, facts.y - asked.y)
    return {
        "shape": agree(facts.shape, asked.shape),
        "colour": agree(facts.colour, asked.colour),
        "size": ((facts.size / asked.size - 1).abs() <= size) | asked.size.isnan(),
        "position": (distance <= position) | (asked.x + asked.y).isnan(),
    } | counted(measured, asked)


def agree(measured: Tensor, asked: Tensor) -> Tensor:
    """Compare names; what was not asked for is obeyed."""
    return (measured == asked) | (asked == UNKNOWN)


def counted(measured: Measured, asked: Facts) -> dict[str, Tensor]:
    """Compare the number of objects."""
    return {"count": (measured.number == asked.shape.shape[1]).unsqueeze(1)}


def matched(measured: Facts, asked: Facts) -> Facts:
    """Order two measured objects as they were asked for: by their names, and where these tie by their relation."""
    if asked.shape.shape[1] == 1:
        return measured
    return measured.swapped(
        score(measured.swapped(torch.ones(len(asked.shape), dtype=torch.bool)), asked) > score(measured, asked)
    )


def score(measured: Facts, asked: Facts) -> Tensor:
    """Count the names that agree (N,); the relation counts half."""
    names = sum(agree(getattr(measured, name), getattr(asked, name)).sum(1) for name in NAMES)
    return names + 0.5 * agree(measured.relation, asked.relation).squeeze(1)
