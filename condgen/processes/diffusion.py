"""The forward process q, which turns an image into noise in T steps, and its posterior (Ho et al. 2020, Sec. 2)."""

from __future__ import annotations

from math import log, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from condgen.pixels import sent
from condgen.processes.schedule import NoiseSchedule


class Level(NamedTuple):
    """A level of noise: x_t = alpha x_0 + sigma noise, alpha^2 + sigma^2 = 1; t is -1 for the clean image."""

    t: int
    alpha: float
    sigma: float

    @property
    def log_snr(self) -> float:
        """Lambda = log(alpha / sigma), half of the logarithm of the signal-to-noise ratio."""
        return log(self.alpha / self.sigma)


CLEAN = Level(-1, 1.0, 0.0)
"""The level without noise, at which sampling ends."""


class Posterior(NamedTuple):
    """q(x_s | x_t, x_0) = N(x_0_weight x_0 + x_t_weight x_t, variance) for a level s before t."""

    x_0_weight: float
    x_t_weight: float
    variance: float


class Diffusion:
    """The process for one schedule; its table lies on the CPU in float64, on no device and in no checkpoint.

    Args:
        schedule: Variances of the steps.
        num_steps: T, at least 2.
    """

    def __init__(self, schedule: NoiseSchedule, num_steps: int) -> None:
        if num_steps < 2:
            raise ValueError(f"num_steps, the length of the diffusion, must be at least 2, got {num_steps}")
        self.num_steps = num_steps
        self.alpha_bar = (1 - schedule.betas(num_steps)).cumprod(dim=0)
        bounds = self.alpha_bar.new_tensor([1.0]), self.alpha_bar, self.alpha_bar.new_tensor([0.0])
        if not (torch.cat(bounds).diff() < 0).all():  # a NaN fails the comparison
            raise ValueError(
                f"{schedule} with {num_steps} steps does not lower what is left of the image at each step, down to "
                "more than nothing; change its betas"
            )

    def scales(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of steps t (N,), each (N, 1, 1, 1) of the type and on the device of `like`."""
        alpha_bar = self.alpha_bar[t.cpu()].view(-1, 1, 1, 1)
        scales = torch.stack([alpha_bar, 1 - alpha_bar]).sqrt().to(like.dtype)
        alpha, sigma = sent(scales, like.device)
        return alpha, sigma

    def snr(self, t: Tensor) -> Tensor:
        """Return the signal-to-noise ratio alpha^2 / sigma^2 of steps t (N,), (N,) float64 on the CPU."""
        alpha_bar = self.alpha_bar[t.cpu()]
        return alpha_bar / (1 - alpha_bar)

    def q_sample(self, x_0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Diffuse x_0 to step t (Ho et al. 2020, Eq. 4).

        Args:
            x_0: Clean images, (N, C, H, W) in [-1, 1].
            t: Steps, (N,) int64 in [0, num_steps).
            noise: Standard normal, shaped like x_0.

        Raises:
            ValueError: If t lies outside the schedule.
        """
        if int(t.min()) < 0 or int(t.max()) >= self.num_steps:
            raise ValueError(f"t must be in [0, {self.num_steps - 1}], got {int(t.min())} to {int(t.max())}")
        alpha, sigma = self.scales(t, x_0)
        return alpha * x_0 + sigma * noise

    def level(self, t: int) -> Level:
        """Return the level of step t."""
        alpha_bar = float(self.alpha_bar[t])
        return Level(t, sqrt(alpha_bar), sqrt(1 - alpha_bar))

    def levels(self, steps: int) -> list[Level]:
        """Return the steps + 1 levels of a sampler, from the last step of q to the clean image, evenly spaced.

        The spacing is the `trailing` one of Lin et al. (2024, Tab. 2): it begins at the last step of q.

        Raises:
            ValueError: If `steps` is more than q has.
        """
        if steps > self.num_steps:
            raise ValueError(f"a sampler takes at most the {self.num_steps} steps of the diffusion, got steps={steps}")
        times = [round(self.num_steps * (1 - i / steps)) - 1 for i in range(steps)]
        return [*(self.level(t) for t in times), CLEAN]


def posterior(now: Level, before: Level) -> Posterior:
    """Return q(x_before | x_now, x_0) (Ho et al. 2020, Eq. 6 and 7), for any two levels."""
    kept = (now.alpha / before.alpha) ** 2
    share = (before.sigma / now.sigma) ** 2
    x_0_weight = before.alpha * (1 - kept) / now.sigma**2
    return Posterior(x_0_weight, sqrt(kept) * share, share * (1 - kept))
