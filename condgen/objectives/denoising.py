"""What a diffusion net predicts, and how the error is weighted over noise levels.

x_t = alpha x_0 + sigma noise throughout, with alpha^2 + sigma^2 = 1 and SNR = alpha^2 / sigma^2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, isfinite

import torch
from torch import Tensor

Scale = Tensor | float
"""alpha or sigma: a number, or (N, 1, 1, 1)."""


class Prediction(ABC):
    """The target of a net, and the way from its output to x_0."""

    @abstractmethod
    def target(self, x_0: Tensor, noise: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        """Return what the net shall give for x_t."""

    @abstractmethod
    def x_0(self, out: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        """Return the estimate of x_0 that the net's output means."""

    @abstractmethod
    def error_ratio(self, snr: Tensor) -> Tensor:
        """Return (squared error in the target) / (squared error in x_0) at a given SNR."""


@dataclass(frozen=True)
class PredictNoise(Prediction):
    """The noise (Ho et al. 2020, Eq. 12)."""

    def target(self, x_0: Tensor, noise: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        """Return the noise."""
        return noise

    def x_0(self, out: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        """Take the noise away."""
        return (x_t - sigma * out) / alpha

    def error_ratio(self, snr: Tensor) -> Tensor:
        """SNR."""
        return snr


@dataclass(frozen=True)
class PredictX0(Prediction):
    """The clean image: input x_t and t, output x_0 (Ho et al. 2020, Sec. 3.2)."""

    def target(self, x_0: Tensor, noise: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        """Return the image."""
        return x_0

    def x_0(self, out: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        """Return the output."""
        return out

    def error_ratio(self, snr: Tensor) -> Tensor:
        """One."""
        return torch.ones_like(snr)


@dataclass(frozen=True)
class PredictV(Prediction):
    """v = alpha noise - sigma x_0 (Salimans & Ho 2022, App. D)."""

    def target(self, x_0: Tensor, noise: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        """Return v."""
        return alpha * noise - sigma * x_0

    def x_0(self, out: Tensor, x_t: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
        """Rotate (x_t, v) back."""
        return alpha * x_t - sigma * out

    def error_ratio(self, snr: Tensor) -> Tensor:
        """SNR + 1."""
        return snr + 1.0


class Weighting(ABC):
    """Weights of the squared error in the target, by noise level."""

    @abstractmethod
    def __call__(self, prediction: Prediction, snr: Tensor) -> Tensor:
        """Return the weights (N,) at signal-to-noise ratios (N,)."""


@dataclass(frozen=True)
class Simple(Weighting):
    """All levels alike: L_simple (Ho et al. 2020, Eq. 14), on whatever is predicted."""

    def __call__(self, prediction: Prediction, snr: Tensor) -> Tensor:
        """Ones."""
        return torch.ones_like(snr)


@dataclass(frozen=True)
class SimpleX0(Weighting):
    """The squared error in x_0, all levels alike, whatever is predicted: w = 1 of Salimans & Ho (2022, Sec. 4).

    It gives high noise, where the image's class and layout are settled, more weight than the others do.
    """

    def __call__(self, prediction: Prediction, snr: Tensor) -> Tensor:
        """Convert to the target's scale."""
        return 1.0 / prediction.error_ratio(snr)


@dataclass(frozen=True)
class MinSNR(Weighting):
    """min(SNR, gamma) on the squared error in x_0 (Hang et al. 2023, Eq. 8), whatever is predicted."""

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not (isfinite(self.gamma) and self.gamma > 0):
            raise ValueError(f"MinSNR needs a finite gamma > 0, got {self.gamma}")

    def __call__(self, prediction: Prediction, snr: Tensor) -> Tensor:
        """Clamp and convert to the target's scale."""
        return snr.clamp(max=self.gamma) / prediction.error_ratio(snr)


@dataclass(frozen=True)
class Sigmoid(Weighting):
    """sigmoid(ln SNR - bias) on the squared error in x_0, whatever is predicted.

    That is sigmoid(bias - ln SNR) on the error in the noise (Kingma & Gao 2023, Sec. 4), but for a factor.

    Even in x_0 where SNR is high, and falling with it where it is low: there the best guess of x_0 is far off whatever
    is learned, and its error would drown what the condition could tell. The lower the bias, the lower the SNR from
    which it falls.
    """

    bias: float = -3.0

    def __post_init__(self) -> None:
        if not isfinite(self.bias):
            raise ValueError(f"Sigmoid needs a finite bias, got {self.bias}")

    def __call__(self, prediction: Prediction, snr: Tensor) -> Tensor:
        """Convert to the target's scale; 1 at the highest SNR."""
        turn = exp(self.bias)
        return snr / (snr + turn) / prediction.error_ratio(snr)


def guided(estimates: Sequence[Tensor], scales: Sequence[float]) -> Tensor:
    """Return e_0 + s_1 (e_1 - e_0) + s_2 (e_2 - e_1) ..., classifier-free guidance (Brooks et al. 2023, Eq. 3).

    With an unconditional and a conditional estimate it is Eq. 6 of Ho & Salimans (2022), s = 1 + w. It may be applied
    to any of the predictions: at one x_t they are affine in each other.

    Args:
        estimates: At least one.
        scales: Those of all estimates but the first.
    """
    out = estimates[0]
    for i, ((before, after), scale) in enumerate(zip(pairwise(estimates), scales, strict=True)):
        out = out + scale * (after - before) if i else torch.lerp(before, after, scale)
    return out
