"""The evidence lower bound (Kingma & Welling 2014), its weighting in training, and the bound of many samples."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log

import torch
from torch import Tensor


def reparameterise(mu: Tensor, logvar: Tensor, eps: Tensor) -> Tensor:
    """Return z = mu + sigma * eps, eps standard normal (Kingma & Welling 2014, Sec. 2.4)."""
    return mu + torch.exp(0.5 * logvar) * eps


def kl_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(N(mu, exp(logvar)) || N(0, 1)) of each dimension, in nats (Kingma & Welling 2014, App. B).

    Args:
        mu: Means, (N, latent_dim).
        logvar: Logarithms of the variances, (N, latent_dim).

    Returns:
        (N, latent_dim), at least 0.
    """
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar)


def elbo(log_prob: Tensor, kl: Tensor) -> Tensor:
    """Return log p(x|z) - KL(q(z|x) || p(z)) of each image, (N,) nats (Kingma & Welling 2014, Eq. 3).

    Args:
        log_prob: log p(x|z) for one z drawn from q(z|x), (N,).
        kl: The divergence of each dimension, (N, latent_dim).
    """
    return log_prob - kl.sum(dim=1)


def importance_weighted_bound(log_weights: Tensor) -> Tensor:
    """Return the logarithm of the mean importance weight of each image, (N,) nats (Burda et al. 2016, Eq. 8).

    Args:
        log_weights: log p(x, z) - log q(z|x) for k draws of z from q(z|x), (k, N).
    """
    return torch.logsumexp(log_weights, dim=0) - log(len(log_weights))


def bits_per_dim(log_prob: float, dims: int) -> float:
    """Turn a log-likelihood in nats of an image with `dims` values into bits per value; lower is better."""
    return -log_prob / (dims * log(2.0))


@dataclass(frozen=True)
class WeightedELBO:
    """The loss: the negative ELBO with a weight and a floor on the KL term.

    Args:
        beta: Weight of the KL term (Higgins et al. 2017, Eq. 4); 1 is the ELBO.
        kl_warmup: Images over which the weight grows linearly from 0 to `beta` (Bowman et al. 2016); 0 for none.
        free_bits: Nats of each latent dimension, in the mean over a process's batch, that cost nothing to use and gain
            nothing to save (Kingma et al. 2016, Eq. 15); 0 for none.
    """

    beta: float = 1.0
    kl_warmup: int = 0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number >= 0, got {value}")

    def weight(self, images_seen: int) -> float:
        """Return the KL term's weight after `images_seen` images."""
        return self.beta * min(1.0, images_seen / self.kl_warmup) if self.kl_warmup else self.beta

    def __call__(self, log_prob: Tensor, kl: Tensor, images_seen: int) -> Tensor:
        """Return the loss, a mean over the batch in nats, from log p(x|z) (N,) and KL (N, latent_dim)."""
        if not self.free_bits:
            return -elbo(log_prob, self.weight(images_seen) * kl).mean()
        free = kl.mean(dim=0).clamp(min=self.free_bits).sum()
        return self.weight(images_seen) * free - log_prob.mean()
