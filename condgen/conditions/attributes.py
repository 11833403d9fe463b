"""Attributes: numbers and flags."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condgen.conditions.base import ConditionEncoder, choose_null, unit_norm
from condgen.types import CondDims, Condition, CondSpec, Encoded


class AttributesEncoder(ConditionEncoder):
    """Attributes -> vector: each scaled to [-1, 1] by the data's range, or a learned embedding of that.

    The null condition is the zero vector, from which a last column of ones tells any attributes apart; or a learned
    embedding of its own. An attribute that is the same in all of the data is 0.

    Args:
        cond_spec: Must hold `attributes` with their `low` and `high`.
        embedding_dim: Width of an embedding by a net of two layers; null for the scaled attributes themselves.
    """

    keys = ("attributes",)
    middle: Tensor
    scale: Tensor

    def __init__(self, cond_spec: CondSpec, embedding_dim: int | None = None) -> None:
        super().__init__(cond_spec)
        if embedding_dim is not None and embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, or null for no embedding, got {embedding_dim}")
        low, high = (torch.tensor(cond_spec["attributes"][name], dtype=torch.float32) for name in ("low", "high"))
        span = high - low
        self.register_buffer("middle", (low + high) / 2, persistent=False)
        self.register_buffer("scale", torch.where(span > 0, 2.0 / span, 0.0), persistent=False)
        self.layers: nn.Module | None = None
        if embedding_dim is not None:
            self.layers = nn.Sequential(
                nn.Linear(len(span), embedding_dim),
                nn.SiLU(),
                nn.Linear(embedding_dim, embedding_dim),
                unit_norm(embedding_dim),
            )
            self.null = nn.Parameter(torch.randn(embedding_dim) * embedding_dim**-0.5)
        self.dims = CondDims(vector=embedding_dim or len(span) + 1)

    def encode(self, cond: Condition, drop: Tensor | None) -> Encoded:
        """Encode `cond["attributes"]`, (N, A) float32; values beyond the data's range go beyond [-1, 1]."""
        scaled = (cond["attributes"] - self.middle) * self.scale
        if self.layers is not None:
            return Encoded(vector=choose_null(drop, self.null, self.layers(scaled)))
        vector = torch.cat([scaled, torch.ones_like(scaled[:, :1])], dim=1)
        return Encoded(vector=choose_null(drop, torch.zeros_like(vector[0]), vector))
