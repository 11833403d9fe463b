"""The layer where features and condition meet in a variational autoencoder."""

from __future__ import annotations

from torch import Tensor, nn

from condgen.types import CondDims, Encoded


class JointLinear(nn.Module):
    """Features (N, F) and the condition's vector -> (N, width), linear in both.

    The condition's first weights are drawn from N(0, 1), many times those of the features. So the class is taken from
    the condition from the start, and z is left with the style; with equal weights z learns the class first, and samples
    of the prior show whatever class z holds.
    """

    def __init__(self, features: int, dims: CondDims, width: int) -> None:
        super().__init__()
        self.features = nn.Linear(features, width)
        self.condition = nn.Linear(dims.vector, width, bias=False) if dims.vector else None
        if self.condition is not None:
            nn.init.normal_(self.condition.weight)

    def forward(self, x: Tensor, cond: Encoded) -> Tensor:
        """Add both parts."""
        joint: Tensor = self.features(x)
        return joint if self.condition is None or cond.vector is None else joint + self.condition(cond.vector)
