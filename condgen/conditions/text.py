"""Captions, read by a small transformer that is trained with the net."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from condgen.conditions.base import ConditionEncoder, choose_null
from condgen.conditions.tokenisers import NULL, PADDING, make_tokeniser
from condgen.conditions.transformer import Transformer
from condgen.pixels import sent
from condgen.types import CondDims, Condition, CondSpec, Encoded


class TextEncoder(ConditionEncoder):
    """Caption -> vector, and tokens where asked for, by a transformer of its own that starts from nothing.

    Its tokens are the words that the data lists in `cond_spec["text"]["words"]`, or bytes where it lists none. The
    vector is their sum, to which each adds a length of 1 at first, as a one-hot code of it would. The null condition is
    a caption of one token that stands for no caption. The number of tokens is always the same, so that what is made of
    a caption depends on no other of the batch.

    Args:
        cond_spec: Must hold `text`.
        width: Width of vector and tokens.
        depth: Blocks of the transformer.
        heads: Heads of attention, by which `width` is divided.
        max_tokens: Tokens per caption; what is longer is cut. Null for as many as the data's bytes can hold.
        tokens: Give the tokens beside the vector, for nets with cross-attention.
    """

    keys = ("text",)

    def __init__(
        self,
        cond_spec: CondSpec,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        max_tokens: int | None = None,
        tokens: bool = False,
    ) -> None:
        super().__init__(cond_spec)
        for name, value in (("width", width), ("depth", depth), ("heads", heads)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if width % heads:
            raise ValueError(f"width must be divisible by heads, got {width} and {heads}")
        if max_tokens is not None and max_tokens < 2:
            raise ValueError(f"max_tokens must be at least 2, or null, got {max_tokens}")
        self.tokenise = make_tokeniser(cond_spec["text"], max_tokens)
        self.transformer = Transformer(self.tokenise.count, self.tokenise.length, width, depth, heads)
        self.tokens = tokens
        self.dims = CondDims(vector=width, tokens=width if tokens else 0)

    def encode(self, cond: Condition, drop: Tensor | None) -> Encoded:
        """Encode `cond["text"]`, UTF-8 bytes (N, B) uint8, padded with zeros."""
        numbers = sent(self.tokenise(cond["text"]), self.transformer.positions.device)
        if drop is not None:
            null = torch.full_like(numbers[0], PADDING)
            null[0] = NULL
            numbers = choose_null(drop, null, numbers)
        mask = numbers != PADDING
        tokens = self.transformer(numbers, mask)
        vector = sum_of_units(tokens, mask)
        return Encoded(vector, tokens, token_mask=mask) if self.tokens else Encoded(vector)


def sum_of_units(tokens: Tensor, mask: Tensor) -> Tensor:
    """Sum the tokens (N, L, D) where `mask` (N, L) is true, each scaled to a length of 1 if it is sqrt(D)."""
    total = (tokens * mask.to(tokens.dtype)[:, :, None]).sum(dim=1)
    return total * cast(float, tokens.shape[2] ** -0.5)
