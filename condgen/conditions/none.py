"""No condition at all."""

from __future__ import annotations

from torch import Tensor

from condgen.conditions.base import ConditionEncoder
from condgen.types import CondDims, Condition, CondSpec, Encoded


class NoCondition(ConditionEncoder):
    """Hides the condition from a net: unconditional models, and the discriminator of an auxiliary-classifier GAN."""

    def __init__(self, cond_spec: CondSpec) -> None:
        super().__init__(cond_spec)
        self.dims = CondDims()

    def encode(self, cond: Condition, drop: Tensor | None) -> Encoded:
        """Return no route whatever `cond` holds."""
        return Encoded()
