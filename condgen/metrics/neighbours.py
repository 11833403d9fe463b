"""Nearest neighbours among many features, in little memory, with distances as exact as differences give them.

|a|^2 + |b|^2 - 2ab is fast but rounds: equal rows get a distance of some 1e-7, and ties are broken by chance. So it
only selects. Whatever lies so near to the edge of a comparison that its rounding matters is computed anew as
sum (a - b)^2, which is 0 for equal rows, and the same number for equal pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CELLS = 2**20
"""Distances held at a time, as many as memory allocators keep for the next use, where that is `ROWS` rows or more."""
ROWS = 256
COLUMNS = 4096
"""Columns at a time in float64."""
SPARE = 8
"""Neighbours beyond those wanted, from which the exact distances choose."""


class Distances:
    """Euclidean distances, squared, of rows (N, D) and columns (M, D) float32, in blocks of rows.

    Args:
        rows: Features of one side.
        columns: Features of the other; its mean becomes the origin, which makes norms and so rounding small.
    """

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self.rows, self.columns = rows, columns
        self._origin = columns[:COLUMNS].double().mean(dim=0)
        norms = [self._centred(part).square().sum(dim=1) for part in columns.split(COLUMNS)]
        self._norm = torch.cat(norms)
        self._slack = 4 * rows.shape[1] * torch.finfo(torch.float64).eps

    def _centred(self, x: Tensor) -> Tensor:
        return x.double() - self._origin

    def blocks(self) -> Iterator[Block]:
        """Yield the rounded distances of some rows to all columns."""
        step = max(ROWS, CELLS // len(self.columns))
        for start in range(0, len(self.rows), step):
            a = self._centred(self.rows[start : start + step])
            norm = a.square().sum(dim=1, keepdim=True)
            squared = torch.empty(len(a), len(self.columns), dtype=torch.float64, device=a.device)
            for part, b in zip(squared.split(COLUMNS, dim=1), self.columns.split(COLUMNS), strict=True):
                torch.mm(a, self._centred(b).T, out=part)
            squared.mul_(-2.0).add_(norm).add_(self._norm)
            yield Block(self, start, squared, self._slack * (norm + self._norm.max()))


class Block:
    """Squared distances (B, M) float64 of rows from `start` on to all columns, good to `tolerance` (B, 1)."""

    def __init__(self, distances: Distances, start: int, squared: Tensor, tolerance: Tensor) -> None:
        self.squared = squared
        self.rows = slice(start, start + len(squared))
        self._sides = distances.rows[self.rows], distances.columns
        self._tolerance = tolerance

    def settle(self, edge: Tensor) -> Tensor:
        """Make exact what rounding may put on the wrong side of `edge`, broadcast to (B, M); return all distances."""
        row, column = ((self.squared - edge).abs_() <= self._tolerance).nonzero(as_tuple=True)
        self.squared[row, column] = self.exact(row, column)
        return self.squared

    def exact(self, row: Tensor, column: Tensor) -> Tensor:
        """Return the squared distances (P,) of pairs of a row of the block and a column."""
        a, b = self._sides
        step = max(1, CELLS // a.shape[1])
        pairs = zip(row.split(step), column.split(step), strict=True)
        return torch.cat([(a[i].double() - b[j].double()).square().sum(dim=1) for i, j in pairs])

    def nearest(self, count: int) -> tuple[Tensor, Tensor]:
        """Return each row's smallest squared distances, exact and ascending, and their columns, (B, count) each."""
        chosen = self.squared.topk(min(count + SPARE, self.squared.shape[1]), dim=1, largest=False).indices
        row = torch.arange(len(chosen), device=chosen.device)[:, None].expand_as(chosen)
        exact, order = self.exact(row.flatten(), chosen.flatten()).view(chosen.shape).sort(dim=1, stable=True)
        return exact[:, :count], chosen.gather(1, order)[:, :count]


def nearest(rows: Tensor, columns: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the squared distances of each row's nearest columns, and which they are, (N, count) each, ascending."""
    parts = [block.nearest(count) for block in Distances(rows, columns).blocks()]
    return torch.cat([squared for squared, _ in parts]), torch.cat([index for _, index in parts])


def nearest_others(features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the squared distances of each row's nearest other rows, and which they are, (N, count) each, ascending."""
    parts = []
    for block in Distances(features, features).blocks():
        block.squared.diagonal(offset=block.rows.start).fill_(torch.inf)
        parts.append(block.nearest(count))
    return torch.cat([squared for squared, _ in parts]), torch.cat([index for _, index in parts])
