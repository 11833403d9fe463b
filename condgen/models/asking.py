"""What a model is asked for when its samples are scored, and the drawing of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from condgen.data import Images
from condgen.models.base import GenerativeModel
from condgen.pixels import to_uint8
from condgen.seeding import generator
from condgen.types import Condition

BLOCK = 512
"""Samples that are held as float32 at a time: so many, but whole chunks of the model's, and at least one."""


class Asked(NamedTuple):
    """Conditions of samples, as they are stored, and the real images that they belong to, if they come from a split."""

    cond: Condition
    target: Tensor | None


def classes_in_turn(model: GenerativeModel) -> bool:
    """Return whether a model is asked for classes in turn, or for nothing; others are asked for rows of a split."""
    return set(model.condition_keys) <= {"label"}


def ask(model: GenerativeModel, index: Tensor, images: Callable[[], Images]) -> Asked:
    """Return the conditions of samples number `index` (N,).

    Args:
        model: The model, which says what it needs.
        index: Numbers of the samples.
        images: Gives the split whose conditions are asked for, in an order of its own, where classes are not enough.
    """
    if not model.condition_keys:
        return Asked({}, None)
    if classes_in_turn(model):
        return Asked({"label": index % len(model.cond_spec["label"]["names"])}, None)
    split = images()
    order = torch.randperm(len(split), generator=generator("asked"))
    rows = split.take(order[index % len(split)])
    return Asked(rows.cond, rows.pixels)


def draw(model: GenerativeModel, cond: Condition, seeds: Tensor) -> Tensor:
    """Sample uint8 images (N, C, H, W) for stored conditions, of which the model gets those that it needs."""
    known = {key: value for key, value in cond.items() if key in model.condition_keys}
    parts, chunk = [], model.sample_chunk
    for rows in torch.arange(len(seeds)).split(max(1, BLOCK // chunk) * chunk):
        part = {key: value[rows] for key, value in known.items()}
        parts.append(to_uint8(model.sample(part, seeds=seeds[rows])))
    return torch.cat(parts)
