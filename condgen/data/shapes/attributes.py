"""Facts as numbers in a row, and the facts that a condition asks for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.data.shapes.captions import decode, parse_caption
from condgen.data.shapes.facts import COLOURS, SHAPES, UNKNOWN, Facts
from condgen.types import Condition

NAMES = (*SHAPES, *COLOURS, "size", "x", "y")
OBJECTS = ("first", "second")
SIZE_RANGE = (0.15, 0.3)
PLACE_RANGE = ((0.25, 0.75), (0.0, 1.0))
"""What sizes and positions lie in, as fractions of the side; positions of a single object, and of two."""


def attributes_spec(n_objects: int) -> dict[str, Any]:
    """Name the numbers of `to_attributes`, with their ranges."""
    names = list(NAMES) if n_objects == 1 else [f"{which}_{name}" for which in OBJECTS for name in NAMES]
    (size_low, size_high), (low, high) = SIZE_RANGE, PLACE_RANGE[n_objects - 1]
    flags = len(SHAPES) + len(COLOURS)
    groups = {
        f"{which}{what}": {name: f"{which}{name}" for name in values}
        for which in ([""] if n_objects == 1 else [f"{name}_" for name in OBJECTS])
        for what, values in (("shape", SHAPES), ("colour", COLOURS))
    }
    return {
        "names": names,
        "groups": groups,
        "low": [*[0.0] * flags, size_low, low, low] * n_objects,
        "high": [*[1.0] * flags, size_high, high, high] * n_objects,
    }


def to_attributes(facts: Facts) -> Tensor:
    """Write facts as numbers (N, 13 K) float32: for each object 1 for its shape and colour, else 0; size, x, y."""
    shape, colour = F.one_hot(facts.shape, len(SHAPES)), F.one_hot(facts.colour, len(COLOURS))
    return torch.cat([shape, colour, torch.stack(facts[2:], dim=-1)], dim=-1).flatten(1)


def from_attributes(attributes: Tensor) -> Facts:
    """Read facts from numbers: the inverse of `to_attributes`; the largest number names shape and colour."""
    shape, colour, rest = attributes.unflatten(1, (-1, len(NAMES))).split([len(SHAPES), len(COLOURS), 3], dim=-1)
    return Facts(shape.argmax(-1), colour.argmax(-1), *rest.unbind(-1))


def asked(cond: Condition, n_objects: int = 1) -> Facts:
    """Return the facts that a condition asks for, by its attributes, else its text, else its label; others are unknown.

    Raises:
        ValueError: If it has none of them.
    """
    if "attributes" in cond:
        return from_attributes(cond["attributes"])
    if "text" in cond:
        return parse_caption(decode(cond["text"]), n_objects)
    if "label" in cond:
        label = cond["label"].unsqueeze(1)
        nothing = torch.full(label.shape, float("nan"))
        return Facts(label, torch.full_like(label, UNKNOWN), nothing, nothing, nothing)
    raise ValueError(f"facts are asked for by attributes, text or label, got {', '.join(cond) or 'no condition'}")
