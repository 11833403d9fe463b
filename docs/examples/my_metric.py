"""Is a disc as large as it was asked to be?"""

from __future__ import annotations

from math import pi
from typing import ClassVar

import torch
from torch import Tensor

from condgen.metrics import Obedience
from condgen.types import Condition


class RadiusError(Obedience):
    """`radius_error`: mean distance in pixels of the radius asked for from that of a disc as bright as the sample."""

    keys = ("attributes",)
    better: ClassVar[dict[str, str]] = {"radius_error": "lower"}

    def measure(self, image: Tensor, cond: Condition, target: Tensor | None) -> Tensor:
        """Return the error and a one for each sample, (N, 2): what is added up."""
        area = image.double().sum(dim=(1, 2, 3)) / 255
        error = ((area / pi).sqrt() - cond["attributes"][:, 0]).abs()
        return torch.stack([error, torch.ones_like(error)], dim=1)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Return the score of R sets of samples from their sums, (R, 2)."""
        return {"radius_error": total[:, 0] / total[:, 1]}
