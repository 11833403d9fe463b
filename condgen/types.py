"""The words that every layer shares: shapes, conditions, batches and the routes a condition takes into a net."""

from __future__ import annotations

from typing import Any, NamedTuple, NotRequired, TypedDict

from torch import Tensor

Shape = tuple[int, int, int]
"""(channels, height, width)."""

Condition = dict[str, Tensor]
"""Raw conditions; each key means one thing: `label` is (N,) int64."""

CondSpec = dict[str, dict[str, Any]]
"""What a data set offers, in plain values: `{"label": {"names": ["zero", "one"]}}`."""


class Batch(TypedDict):
    """What a model receives.

    image: (N, C, H, W) float32 in [-1, 1].
    index: (N,) int64 position in the split; evaluation only, so that each image is known by its number.
    """

    image: Tensor
    cond: Condition
    index: NotRequired[Tensor]


class CondDims(NamedTuple):
    """Width of each route of `Encoded`; 0 means that the route is absent."""

    vector: int = 0
    tokens: int = 0
    spatial: int = 0


class Encoded(NamedTuple):
    """An encoded condition; routes are named, never guessed from a tensor's rank.

    vector: (N, D), tokens: (N, L, D), spatial: (N, C, H, W); None where absent.
    """

    vector: Tensor | None = None
    tokens: Tensor | None = None
    spatial: Tensor | None = None
