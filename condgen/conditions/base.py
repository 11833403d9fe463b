"""The contract of condition encoders, and the check of raw conditions at the public doors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from condgen.types import CondDims, Condition, CondSpec, Encoded


class ConditionEncoder(nn.Module, ABC):
    """Encodes raw conditions for a net.

    Args:
        cond_spec: What the data set offers.

    Raises:
        ValueError: If `cond_spec` lacks a key that the encoder reads.
    """

    keys: ClassVar[tuple[str, ...]] = ()
    dims: CondDims

    def __init__(self, cond_spec: CondSpec) -> None:
        super().__init__()
        missing = [key for key in self.keys if key not in cond_spec]
        if missing:
            offered = ", ".join(cond_spec) or "nothing"
            raise ValueError(f"{type(self).__name__} needs the condition {missing[0]!r}; the data offers {offered}")

    @abstractmethod
    def forward(self, cond: Condition, drop: Tensor | None = None) -> Encoded:
        """Encode `cond`; samples where `drop` (N,) bool is true get the encoder's null condition."""


EncoderFactory = Callable[[CondSpec], ConditionEncoder]


def check_condition(cond: Condition, cond_spec: CondSpec, needed: tuple[str, ...]) -> int | None:
    """Check raw conditions against the data's specification before any device work.

    Args:
        cond: Raw conditions; keys beyond the needed ones are checked too.
        cond_spec: What the model was built for.
        needed: The keys that must be there.

    Returns:
        The number of samples, or None if there are no conditions.

    Raises:
        ValueError: If a key is missing or unknown, or a value has the wrong type, shape or range.
    """
    for key in cond:
        if key not in cond_spec:
            raise ValueError(f"unknown condition {key!r}; the model knows {', '.join(cond_spec) or 'none'}")
    for key in needed:
        if key not in cond:
            raise ValueError(f"condition {key!r} is missing")
    if "label" in cond:
        check_label(cond["label"], len(cond_spec["label"]["names"]))
    sizes = {len(value) for value in cond.values()}
    if len(sizes) > 1:
        raise ValueError(f"conditions disagree on the number of samples: {sorted(sizes)}")
    return sizes.pop() if sizes else None


def check_label(label: Tensor, num_classes: int) -> None:
    """Refuse a label that is not (N,) integer in [0, num_classes)."""
    if not isinstance(label, Tensor) or label.dtype.is_floating_point or label.dtype.is_complex:
        kind = label.dtype if isinstance(label, Tensor) else type(label).__name__
        raise ValueError(f"label must be (N,) int64 in [0, {num_classes - 1}], got {kind}")
    if label.dtype == torch.bool or label.ndim != 1 or len(label) == 0:
        raise ValueError(
            f"label must be (N,) int64 in [0, {num_classes - 1}] with N >= 1, got {tuple(label.shape)} {label.dtype}"
        )
    low, high = int(label.min()), int(label.max())
    if low < 0 or high >= num_classes:
        raise ValueError(f"label must be in [0, {num_classes - 1}], got {low if low < 0 else high}")
