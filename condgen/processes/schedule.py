"""Noise schedules: how much of the image is left after each step of the diffusion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import isfinite, pi

import torch
from torch import Tensor

LARGEST_BETA = 0.999
"""Clip of Nichol & Dhariwal (2021, Sec. 3.2), so that a step never destroys all of the image."""


class NoiseSchedule(ABC):
    """Variances beta_t of the noise that each step adds."""

    @abstractmethod
    def betas(self, num_steps: int) -> Tensor:
        """Return beta_1 ... beta_T, (T,) float64 in (0, 0.999]."""


@dataclass(frozen=True)
class LinearSchedule(NoiseSchedule):
    """beta rises linearly (Ho et al. 2020, Sec. 4); with T != 1000 both ends are scaled by 1000 / T.

    Scaled so, the image is gone after the last step whatever T is.

    Args:
        start: beta_1 for T = 1000.
        end: beta_T for T = 1000.
    """

    start: float = 1e-4
    end: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.start <= self.end < 1:
            raise ValueError(f"LinearSchedule needs 0 < start <= end < 1, got start={self.start} and end={self.end}")

    def betas(self, num_steps: int) -> Tensor:
        """Return the variances."""
        scale = 1000 / num_steps
        return (torch.linspace(self.start, self.end, num_steps, dtype=torch.float64) * scale).clamp(max=LARGEST_BETA)


@dataclass(frozen=True)
class CosineSchedule(NoiseSchedule):
    """alpha_bar falls as a squared cosine (Nichol & Dhariwal 2021, Eq. 17).

    Args:
        offset: s of the paper; keeps beta from being tiny near t = 0.
        shift: Factor by which the noise over the image is larger at every time (Hoogeboom et al. 2023, Eq. 4). Above 1
            more of the steps decide where things are, which large images and small objects need.
    """

    offset: float = 0.008
    shift: float = 1.0

    def __post_init__(self) -> None:
        for name in ("offset", "shift"):
            if not (isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"CosineSchedule needs a finite {name} > 0, got {getattr(self, name)}")

    def betas(self, num_steps: int) -> Tensor:
        """Return the variances."""
        time = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
        alpha_bar = ((time + self.offset) / (1 + self.offset) * pi / 2).cos().square()
        alpha_bar = alpha_bar / (alpha_bar + self.shift**2 * (1 - alpha_bar))
        return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=LARGEST_BETA)
