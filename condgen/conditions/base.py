"""The contract of condition encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

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
