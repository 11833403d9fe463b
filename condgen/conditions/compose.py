"""Several conditions at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from condgen.conditions.base import ConditionEncoder, Drop, EncoderFactory
from condgen.types import CondDims, Condition, CondSpec, Encoded


class Compose(ConditionEncoder):
    """Joins what several encoders give, route by route: vectors, rows of tokens, and channels of maps.

    Args:
        cond_spec: Must hold what each encoder reads.
        encoders: Factories of the encoders, at least one; those that give tokens give them of one width.
    """

    def __init__(self, cond_spec: CondSpec, encoders: Sequence[EncoderFactory]) -> None:
        super().__init__(cond_spec)
        if not encoders:
            raise ValueError("encoders must name at least one encoder, got none")
        parts = [make(cond_spec) for make in encoders]
        dims = [part.dims for part in parts]
        widths = sorted({each.tokens for each in dims if each.tokens})
        if len(widths) > 1:
            raise ValueError(f"all tokens must be of one width, got encoders with {' and '.join(map(str, widths))}")
        self.keys = tuple(dict.fromkeys(key for part in parts for key in part.keys))
        self.encoders = nn.ModuleList(parts)
        vector, spatial = sum(each.vector for each in dims), sum(each.spatial for each in dims)
        self.dims = CondDims(vector, sum(widths), spatial)

    def forward(self, cond: Condition, drop: Drop = None) -> Encoded:
        """Encode each condition; `drop` names the keys that are dropped, or is (N,) bool for all together."""
        self.check_drop(drop)
        encoders = cast(Iterable[ConditionEncoder], self.encoders)
        return join([encoder(cond, own_part(drop, encoder.keys)) for encoder in encoders])

    def encode(self, cond: Condition, drop: Tensor | None) -> Encoded:
        """Encode each condition."""
        return self.forward(cond, drop)


def own_part(drop: Drop, keys: tuple[str, ...]) -> Drop:
    """Return what an encoder of some keys drops."""
    return {key: drop[key] for key in keys if key in drop} if isinstance(drop, Mapping) else drop


def join(parts: Sequence[Encoded]) -> Encoded:
    """Concatenate features of vectors, rows of tokens, and channels of maps."""
    vectors = [part.vector for part in parts if part.vector is not None]
    spatials = [part.spatial for part in parts if part.spatial is not None]
    tokens = [part.tokens for part in parts if part.tokens is not None]
    masks = [token_mask(part) for part in parts if part.tokens is not None]
    return Encoded(*(torch.cat(rows, dim=1) if rows else None for rows in (vectors, tokens, spatials, masks)))


def token_mask(part: Encoded) -> Tensor:
    """Return which tokens are there, (N, L) bool."""
    assert part.tokens is not None
    if part.token_mask is not None:
        return part.token_mask
    return torch.ones(part.tokens.shape[:2], dtype=torch.bool, device=part.tokens.device)
