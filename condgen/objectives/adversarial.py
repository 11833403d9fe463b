"""Losses of the two players, and penalties on the discriminator's gradient.

Every loss is a mean over all logits; the discriminator's is the sum of its real and its fake part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Critic = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) -> one number each, (N,), with the condition already given."""


class AdversarialLoss(ABC):
    """A pair of losses on logits, (N,) or (N, P) of P parts of each image."""

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the discriminator's loss on logits of real and of generated images."""

    @abstractmethod
    def generator(self, fake: Tensor) -> Tensor:
        """Return the generator's loss on logits of generated images."""


@dataclass(frozen=True)
class NonSaturating(AdversarialLoss):
    """-log D(x) - log(1 - D(G(z))) and -log D(G(z)) (Goodfellow et al. 2014, Eq. 1 and Sec. 3)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Binary cross-entropy of both."""
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Binary cross-entropy against the label `real`."""
        return F.softplus(-fake).mean()


@dataclass(frozen=True)
class Hinge(AdversarialLoss):
    """Hinge loss (Lim & Ye 2017; Miyato et al. 2018, Eq. 16 and 17)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Margins of 1 on both sides of 0."""
        return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Raise the logits."""
        return -fake.mean()


@dataclass(frozen=True)
class LeastSquares(AdversarialLoss):
    """Least squares with targets 0, 1 and 1 (Mao et al. 2017, Eq. 9)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Pull real logits to 1 and fake ones to 0."""
        return 0.5 * (real - 1.0).square().mean() + 0.5 * fake.square().mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Pull fake logits to 1."""
        return 0.5 * (fake - 1.0).square().mean()


@dataclass(frozen=True)
class Wasserstein(AdversarialLoss):
    """Difference of the critic's means (Arjovsky et al. 2017, Eq. 2); needs a penalty that bounds its gradient."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Negative estimate of the Wasserstein-1 distance."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Raise the critic's values."""
        return -fake.mean()


@dataclass(frozen=True)
class Penalty(ABC):
    """A penalty on the discriminator's gradient with respect to images.

    Args:
        weight: Its factor in the discriminator's loss.
        every: Apply it at each such discriminator step, `every` times as strong (Karras et al. 2020, App. B).
    """

    weight: float = 1.0
    every: int = 1

    def __post_init__(self) -> None:
        if self.weight < 0 or self.every < 1:
            raise ValueError(f"a penalty needs weight >= 0 and every >= 1, got {self.weight} and {self.every}")

    @abstractmethod
    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, source: torch.Generator) -> Tensor:
        """Return the weighted penalty; `source` is the generator of its random draws."""


@dataclass(frozen=True)
class R1(Penalty):
    """weight / 2 E |grad D(x)|^2 on real images (Mescheder et al. 2018, Eq. 9)."""

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, source: torch.Generator) -> Tensor:
        """Penalise the squared gradient norm at the data."""
        squared_norm = gradient(critic, real).square().flatten(1).sum(dim=1)
        return 0.5 * self.weight * self.every * squared_norm.mean()


@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """weight E (|grad D(x_hat)| - 1)^2, x_hat between real and fake (Gulrajani et al. 2017, Eq. 3)."""

    weight: float = 10.0

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, source: torch.Generator) -> Tensor:
        """Pull the gradient norm to 1 on straight lines between pairs."""
        share = torch.rand((len(real), 1, 1, 1), generator=source, device=real.device)
        norm: Tensor = torch.linalg.vector_norm(gradient(critic, torch.lerp(real, fake, share)).flatten(1), dim=1)
        return self.weight * self.every * (norm - 1.0).square().mean()


def gradient(critic: Critic, image: Tensor) -> Tensor:
    """Differentiate the critic's values with respect to the images, itself differentiable."""
    image = image.detach().requires_grad_()
    (grad,) = torch.autograd.grad(critic(image).sum(), image, create_graph=True)
    return grad
