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

__all__ = [
    "R1",
    "AdversarialLoss",
    "GradientPenalty",
    "Hinge",
    "LeastSquares",
    "NonSaturating",
    "Penalty",
    "Wasserstein",
]
