"""The contract of condition encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from condgen.types import CondDims, Condition, CondSpec, Encoded

Drop = Tensor | Mapping[str, Tensor] | None
"""Which samples lose their condition: (N,) bool for all of it, or such a row for some of the keys."""


class ConditionEncoder(nn.Module, ABC):
    """Encodes raw conditions for a net.

    A subclass names the `keys` that it reads, states its `dims`, and defines `encode`.

    Args:
        cond_spec: What the data set offers.

    Raises:
        ValueError: If `cond_spec` lacks a key that the encoder reads.
    """

    keys: tuple[str, ...] = ()
    dims: CondDims

    def __init__(self, cond_spec: CondSpec) -> None:
        super().__init__()
        missing = [key for key in self.keys if key not in cond_spec]
        if missing:
            offered = ", ".join(cond_spec) or "nothing"
            raise ValueError(f"{type(self).__name__} needs the condition {missing[0]!r}; the data offers {offered}")

    def forward(self, cond: Condition, drop: Drop = None) -> Encoded:
        """Encode `cond`; samples that `drop` marks get the encoder's null condition, if it names any of its keys.

        Raises:
            ValueError: If `drop` names a key that the encoder does not read.
        """
        self.check_drop(drop)
        if isinstance(drop, Mapping):
            drop = torch.stack([*drop.values()]).any(dim=0) if drop else None
        return self.encode(cond, drop)

    @abstractmethod
    def encode(self, cond: Condition, drop: Tensor | None) -> Encoded:
        """Encode `cond`; samples where `drop` (N,) bool is true get the null condition."""

    def check_drop(self, drop: Drop) -> None:
        """Refuse to drop a key that the encoder does not read."""
        unknown = [key for key in drop if key not in self.keys] if isinstance(drop, Mapping) else []
        if unknown:
            raise ValueError(
                f"drop names {unknown[0]!r}; {type(self).__name__} reads {', '.join(self.keys) or 'nothing'}"
            )


def choose_null(drop: Tensor | None, null: Tensor, value: Tensor) -> Tensor:
    """Return `value` (N, ...), with `null` (...) in the rows where `drop` (N,) is true.

    A learned null that nothing drops to has a gradient of zeros, without which DistributedDataParallel would stop.
    """
    if drop is None:
        if not null.requires_grad:
            return value
        drop = torch.zeros(len(value), dtype=torch.bool, device=value.device)
    return torch.where(drop.view(-1, *[1] * (value.ndim - 1)), null.to(value.dtype), value)


def unit_norm(width: int) -> nn.LayerNorm:
    """Return a normalisation after which a vector's length is 1 at first, as a one-hot code's, which nets expect."""
    norm = nn.LayerNorm(width)
    nn.init.constant_(norm.weight, width**-0.5)
    return norm


EncoderFactory = Callable[[CondSpec], ConditionEncoder]
"""Builds an encoder for the conditions that the data offer."""
