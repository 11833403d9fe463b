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
from condgen.objectives.denoising import (
    MinSNR,
    Prediction,
    PredictNoise,
    PredictV,
    PredictX0,
    Simple,
    Weighting,
    guided,
)
from condgen.objectives.diffaugment import DiffAugment

__all__ = [
    "R1",
    "AdversarialLoss",
    "DiffAugment",
    "GradientPenalty",
    "Hinge",
    "LeastSquares",
    "MinSNR",
    "NonSaturating",
    "Penalty",
    "PredictNoise",
    "PredictV",
    "PredictX0",
    "Prediction",
    "Simple",
    "Wasserstein",
    "Weighting",
    "guided",
]
