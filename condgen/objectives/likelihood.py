"""Densities p(x|z) of images given a decoder's output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import isfinite, log, pi
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 256
MIN_LOG_SCALE = -7.0
MAX_LOG_SCALE = 7.0
"""Bounds of a logistic variable's log-scale, from far below a grey level to far beyond white; exp of more overflows."""


@dataclass(frozen=True)
class Likelihood(ABC):
    """A density of images x (N, C, H, W) in [-1, 1], independent over pixels given a decoder's raw parameters.

    Attributes:
        parameters: Channels of the decoder per channel of the image; params are (N, C * parameters, H, W), any value.
        unit: What a log-likelihood on test images is measured in; values of two units cannot be compared.
    """

    parameters: ClassVar[int] = 1
    unit: ClassVar[str]

    @abstractmethod
    def log_prob(self, image: Tensor, params: Tensor) -> Tensor:
        """Return log p(x|z) of each image, (N,) in nats, summed over pixels."""

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """Return the expected image (N, C, H, W) in [-1, 1]."""

    @abstractmethod
    def draw(self, params: Tensor, noise: Tensor) -> Tensor:
        """Draw an image in [-1, 1] by standard normal noise (N, C, H, W)."""

    def observe(self, image: Tensor, noise: Tensor) -> Tensor:
        """Return the data that the density is about: the image itself; `noise` is as in `draw`."""
        return image


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Black or white pixels (Kingma & Welling 2014, App. C.1); params are logits of white.

    The log-probability of a grey pixel is its expectation over stochastic binarisation, which serves training. A
    likelihood is reported on binarised images, each pixel white with its grey level as probability (Burda et al. 2016).
    """

    unit: ClassVar[str] = "nats on binarised data"

    def log_prob(self, image: Tensor, params: Tensor) -> Tensor:
        """Negative cross-entropy."""
        white = 0.5 * (image + 1.0)
        return -F.binary_cross_entropy_with_logits(params, white, reduction="none").flatten(1).sum(dim=1)

    def mean(self, params: Tensor) -> Tensor:
        """Probability of white, as a grey level."""
        return torch.tanh(0.5 * params)

    def draw(self, params: Tensor, noise: Tensor) -> Tensor:
        """Choose black or white for each pixel."""
        return self.observe(self.mean(params), noise)

    def observe(self, image: Tensor, noise: Tensor) -> Tensor:
        """Binarise: -1 or 1."""
        white: Tensor = torch.special.ndtr(noise) < 0.5 * (image + 1.0)
        return white.to(image.dtype).mul_(2.0).sub_(1.0)


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """Normal pixels of one fixed standard deviation, in units of [-1, 1]; params go through tanh to the mean."""

    unit: ClassVar[str] = "nats of a density on [-1, 1]"

    std: float = 0.2

    def __post_init__(self) -> None:
        if not (isfinite(self.std) and self.std > 0):
            raise ValueError(f"Gaussian needs a finite std > 0, got {self.std}")

    def log_prob(self, image: Tensor, params: Tensor) -> Tensor:
        """Log-density of the normal distribution."""
        return log_normal(image, self.mean(params), torch.full_like(image, 2.0 * log(self.std)))

    def mean(self, params: Tensor) -> Tensor:
        """The mean itself."""
        return torch.tanh(params)

    def draw(self, params: Tensor, noise: Tensor) -> Tensor:
        """Add noise, within [-1, 1]."""
        return (self.mean(params) + self.std * noise).clamp(-1.0, 1.0)


@dataclass(frozen=True)
class LearnedGaussian(Likelihood):
    """Normal pixels, each with a mean and a variance from the decoder (Kingma & Welling 2014, App. C.2).

    Params are the mean before tanh, and the standard deviation before softplus, to which `min_std` is added: without
    a floor the density of an image with a constant pixel has no bound.
    """

    parameters: ClassVar[int] = 2
    unit: ClassVar[str] = "nats of a density on [-1, 1]"

    min_std: float = 0.05

    def __post_init__(self) -> None:
        if not (isfinite(self.min_std) and self.min_std > 0):
            raise ValueError(f"LearnedGaussian needs a finite min_std > 0, got {self.min_std}")

    def std(self, params: Tensor) -> Tensor:
        """Return the standard deviation of each pixel."""
        return self.min_std + F.softplus(params.chunk(2, dim=1)[1])

    def log_prob(self, image: Tensor, params: Tensor) -> Tensor:
        """Log-density of the normal distribution."""
        return log_normal(image, self.mean(params), 2.0 * self.std(params).log())

    def mean(self, params: Tensor) -> Tensor:
        """The mean itself."""
        return torch.tanh(params.chunk(2, dim=1)[0])

    def draw(self, params: Tensor, noise: Tensor) -> Tensor:
        """Add noise, within [-1, 1]."""
        return (self.mean(params) + self.std(params) * noise).clamp(-1.0, 1.0)


@dataclass(frozen=True)
class DiscretisedLogistic(Likelihood):
    """The 256 grey levels as bins of a logistic variable (Kingma et al. 2016, App. C.1; Salimans et al. 2017, Eq. 2).

    The bins of black and of white are open to the outside. Params are location and log-scale, in units of [-1, 1].
    """

    parameters: ClassVar[int] = 2
    unit: ClassVar[str] = "bits/dim"

    def _location_and_log_scale(self, params: Tensor) -> tuple[Tensor, Tensor]:
        location, log_scale = params.chunk(2, dim=1)
        return location, log_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)

    def log_prob(self, image: Tensor, params: Tensor) -> Tensor:
        """Log-mass of each pixel's bin [a, b].

        With the logistic function s: s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)), whose factors lose no digits.
        """
        location, log_scale = self._location_and_log_scale(params)
        level = to_level(image)
        precision = torch.exp(-log_scale)
        centred = level * (2.0 / (LEVELS - 1)) - 1.0 - location
        below = precision * (centred - 1.0 / (LEVELS - 1))
        above = precision * (centred + 1.0 / (LEVELS - 1))
        width = precision * (2.0 / (LEVELS - 1))
        inside = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(-width))
        at_edge = torch.where(level == 0, F.logsigmoid(above), F.logsigmoid(-below))
        log_mass = torch.where((level == 0) | (level == LEVELS - 1), at_edge, inside)
        return log_mass.flatten(1).sum(dim=1)

    def mean(self, params: Tensor) -> Tensor:
        """Mean of the logistic variable clamped to [-1, 1], the integral of its survival function."""
        location, log_scale = self._location_and_log_scale(params)
        scale = log_scale.exp()
        integral = scale * (F.softplus((location + 1.0) / scale) - F.softplus((location - 1.0) / scale))
        return (integral - 1.0).clamp(-1.0, 1.0)

    def draw(self, params: Tensor, noise: Tensor) -> Tensor:
        """Draw a grey level."""
        location, log_scale = self._location_and_log_scale(params)
        standard = torch.special.log_ndtr(noise) - torch.special.log_ndtr(-noise)
        level = to_level((location + log_scale.exp() * standard).clamp(-1.0, 1.0))
        return level * (2.0 / (LEVELS - 1)) - 1.0


def to_level(image: Tensor) -> Tensor:
    """Return the nearest grey level 0 ... 255 of values in [-1, 1], in floating point."""
    return ((image + 1.0) * (0.5 * (LEVELS - 1))).round()


def log_normal(x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """Return log N(x; mu, exp(logvar)) of each row, (N,), summed over the rest."""
    squared = (x - mu).square() * torch.exp(-logvar)
    return -0.5 * (squared + logvar + log(2.0 * pi)).flatten(1).sum(dim=1)
