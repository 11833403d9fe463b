"""Captions, read by a text encoder from Hugging Face that is never trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condgen.conditions.base import ConditionEncoder, choose_null, unit_norm
from condgen.conditions.pretrained_text import pretrained_text
from condgen.types import CondDims, Condition, CondSpec, Encoded


class FrozenTextEncoder(ConditionEncoder):
    """Caption -> vector, and tokens where asked for, linear in the last states of a pretrained text encoder.

    The pretrained net reads each caption once; its states are kept in condgen's cache. Its weights are neither trained
    nor part of a checkpoint, which names the model alone. The vector is the normalised mean of the tokens that are
    there. The null condition is one learned token.

    Args:
        cond_spec: Must hold `text`.
        model: Folder of a model with its tokeniser, or its name on the hub, such as `openai/clip-vit-base-patch32`.
        width: Width of vector and tokens.
        max_tokens: Tokens per caption; what is longer is cut.
        tokens: Give the tokens beside the vector, for nets with cross-attention.

    Raises:
        ValueError: If transformers is not installed, or finds no such model.
    """

    keys = ("text",)

    def __init__(
        self, cond_spec: CondSpec, model: str, width: int = 128, max_tokens: int = 32, tokens: bool = False
    ) -> None:
        super().__init__(cond_spec)
        for name, value in (("width", width), ("max_tokens", max_tokens)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.pretrained = pretrained_text(model, max_tokens)
        self.project = nn.Linear(self.pretrained.width, width)
        self.norm = unit_norm(width)
        self.null = nn.Parameter(torch.randn(width))
        self.tokens = tokens
        self.dims = CondDims(vector=width, tokens=width if tokens else 0)

    def encode(self, cond: Condition, drop: Tensor | None) -> Encoded:
        """Encode `cond["text"]`, UTF-8 bytes (N, B) uint8, padded with zeros."""
        states, mask = self.pretrained(cond["text"], self.null.device)
        first = torch.arange(mask.shape[1], device=mask.device) == 0
        mask = choose_null(drop, first, mask)
        tokens = choose_null(drop, self.null, self.project(states))
        vector = self.norm(masked_mean(tokens, mask))
        return Encoded(vector, tokens, token_mask=mask) if self.tokens else Encoded(vector)


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the mean (N, D) of the tokens (N, L, D) where `mask` (N, L) is true."""
    weights = mask.to(tokens.dtype)[:, :, None]
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1)
