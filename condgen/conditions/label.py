"""Class labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condgen.conditions.base import ConditionEncoder
from condgen.types import CondDims, Condition, CondSpec, Encoded


class LabelEncoder(ConditionEncoder):
    """Class label -> vector: one-hot (Mirza & Osindero 2014), or a learned embedding.

    The null condition is the zero vector of the one-hot code, or a learned embedding of its own.

    Args:
        cond_spec: Must hold `label` with its class `names`.
        embedding_dim: Width of the learned embedding; null for one-hot.
    """

    keys = ("label",)

    def __init__(self, cond_spec: CondSpec, embedding_dim: int | None = None) -> None:
        super().__init__(cond_spec)
        if embedding_dim is not None and embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, or null for one-hot, got {embedding_dim}")
        self.num_classes = len(cond_spec["label"]["names"])
        self.embedding = nn.Embedding(self.num_classes + 1, embedding_dim) if embedding_dim else None
        self.dims = CondDims(vector=embedding_dim or self.num_classes)

    def encode(self, cond: Condition, drop: Tensor | None) -> Encoded:
        """Encode `cond["label"]`, (N,) int64 in [0, num_classes)."""
        label = cond["label"].long()
        if drop is not None:
            label = torch.where(drop, self.num_classes, label)
        if self.embedding is not None:
            return Encoded(vector=self.embedding(label))
        one_hot = F.one_hot(label, self.num_classes + 1)[:, : self.num_classes]
        return Encoded(vector=one_hot.to(torch.get_default_dtype()))
