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

__all__ = [
    "R1",
    "AdversarialLoss",
    "Bernoulli",
    "DiscretisedLogistic",
    "Gaussian",
    "GradientPenalty",
    "Hinge",
    "LearnedGaussian",
    "LeastSquares",
    "Likelihood",
    "NonSaturating",
    "Penalty",
    "Wasserstein",
    "WeightedELBO",
    "bits_per_dim",
    "elbo",
    "importance_weighted_bound",
    "kl_standard_normal",
    "log_normal",
    "reparameterise",
]
