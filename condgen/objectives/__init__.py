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
    Sigmoid,
    Simple,
    SimpleX0,
    Weighting,
    guided,
)
from condgen.objectives.diffaugment import DiffAugment
from condgen.objectives.elbo import (
    WeightedELBO,
    bits_per_dim,
    elbo,
    importance_weighted_bound,
    kl_standard_normal,
    reparameterise,
)
from condgen.objectives.likelihood import (
    Bernoulli,
    DiscretisedLogistic,
    Gaussian,
    LearnedGaussian,
    Likelihood,
    log_normal,
)
from condgen.objectives.recognition import balanced_cross_entropy, tag_cross_entropy

__all__ = [
    "R1",
    "AdversarialLoss",
    "Bernoulli",
    "DiffAugment",
    "DiscretisedLogistic",
    "Gaussian",
    "GradientPenalty",
    "Hinge",
    "LearnedGaussian",
    "LeastSquares",
    "Likelihood",
    "MinSNR",
    "NonSaturating",
    "Penalty",
    "PredictNoise",
    "PredictV",
    "PredictX0",
    "Prediction",
    "Sigmoid",
    "Simple",
    "SimpleX0",
    "Wasserstein",
    "WeightedELBO",
    "Weighting",
    "balanced_cross_entropy",
    "bits_per_dim",
    "elbo",
    "guided",
    "importance_weighted_bound",
    "kl_standard_normal",
    "log_normal",
    "reparameterise",
    "tag_cross_entropy",
]
