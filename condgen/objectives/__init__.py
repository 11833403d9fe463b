"""Loss mathematics."""

from condgen.objectives.adversarial import (
    R1,
    AdversarialLoss,
    GradientPenalty,
    Hinge,
    LeastSquares,
    NonSaturating,
    Penalty,
    Wasserstein,
)
from condgen.objectives.diffaugment import DiffAugment

__all__ = [
    "R1",
    "AdversarialLoss",
    "DiffAugment",
    "GradientPenalty",
    "Hinge",
    "LeastSquares",
    "NonSaturating",
    "Penalty",
    "Wasserstein",
]
