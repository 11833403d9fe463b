"""Attributes as waves, so that a net tells close values apart (Tancik et al. 2020)."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from condgen.conditions import ConditionEncoder
from condgen.types import CondDims, Condition, CondSpec, Encoded


class FourierAttributes(ConditionEncoder):
    """Attributes, scaled to [0, 1] -> sines and cosines of growing frequency; the null condition is zero.

    Args:
        cond_spec: Must hold `attributes` with their `low` and `high`.
        frequencies: Waves per attribute.
    """

    keys = ("attributes",)

    def __init__(self, cond_spec: CondSpec, frequencies: int = 4) -> None:
        super().__init__(cond_spec)
        low, high = (torch.tensor(cond_spec["attributes"][end]) for end in ("low", "high"))
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("span", high - low, persistent=False)
        self.register_buffer("waves", pi * 2.0 ** torch.arange(frequencies), persistent=False)
        self.dims = CondDims(vector=2 * frequencies * len(low))

    def encode(self, cond: Condition, drop: Tensor | None) -> Encoded:
        """Encode (N, A) float32; rows where `drop` (N,) is true become zero."""
        scaled = (cond["attributes"] - self.low) / self.span
        angle = (scaled.unsqueeze(2) * self.waves).flatten(1)
        vector = torch.cat([angle.sin(), angle.cos()], dim=1)
        return Encoded(vector=vector if drop is None else vector.masked_fill(drop.unsqueeze(1), 0.0))
