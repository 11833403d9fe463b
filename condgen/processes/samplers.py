"""Samplers: from noise back to an image, in any number of steps, with any net that estimates x_0.

All take the same arguments; none knows of nets, conditions or what the net predicts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, isfinite, sqrt

from torch import Tensor

from condgen.processes.diffusion import CLEAN, Diffusion, Level, posterior

Denoise = Callable[[Tensor, Level], Tensor]
"""x_t (N, C, H, W) and its level -> the estimate of x_0."""

Noise = Callable[[], Tensor]
"""Gives standard normal noise shaped like x_t, new at each call."""


@dataclass(frozen=True)
class DiffusionSampler(ABC):
    """Goes from x_T to x_0.

    Args:
        steps: Steps, at most those of the process; each is one evaluation of the net, and one more for each different
            scale of guidance above 1.
        guidance: Scale s of classifier-free guidance, eps_u + s (eps_c - eps_u), which is 1 + w of Ho & Salimans
            (2022, Eq. 6): 1 for the conditional estimate, 0 for the unconditional one. Of several conditions, each may
            have its own (`nested`), such as {text: 3.0, source: 1.5}; those that are not named have 1.
        guidance_from: Time from which on a scale above 1 is applied, from 0 (clean) to 1 (noise); elsewhere it is 1.
        guidance_to: Time up to which it is applied. An interval costs less and leaves more variety (Kynkäänniemi et al.
            2024).
        clip: Clip each estimate of x_0 to [-1, 1].
    """

    steps: int = 50
    guidance: float | dict[str, float] = 1.0
    guidance_from: float = 0.0
    guidance_to: float = 1.0
    clip: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        for name, scale in self.named_scales.items():
            if not (isfinite(scale) and scale >= 0):
                raise ValueError(f"{name} must be a finite number >= 0, got {scale}")
        if not 0 <= self.guidance_from < self.guidance_to <= 1:
            raise ValueError(
                "guidance_from and guidance_to must be 0 <= from < to <= 1, "
                f"got {self.guidance_from} and {self.guidance_to}"
            )

    @property
    def named_scales(self) -> dict[str, float]:
        """The scales that were given, each with its name for messages."""
        if isinstance(self.guidance, dict):
            return {f"guidance of {key}": scale for key, scale in self.guidance.items()}
        return {"guidance": self.guidance}

    def scales_at(self, time: float, keys: Sequence[str]) -> dict[str, float]:
        """Return the guidance scale of each condition at a time in [0, 1), the step's number as a share of all."""
        given = self.guidance
        scales = {key: given.get(key, 1.0) if isinstance(given, dict) else given for key in keys}
        inside = self.guidance_from <= time < self.guidance_to
        return scales if inside else {key: min(scale, 1.0) for key, scale in scales.items()}

    def draft(self) -> DiffusionSampler:
        """Return a sampler that is fast rather than good: few steps, no guidance."""
        return DPMSolver(steps=min(self.steps, 5))

    @abstractmethod
    def __call__(self, denoise: Denoise, x_t: Tensor, process: Diffusion, noise: Noise) -> Tensor:
        """Return x_0, shaped like `x_t`, which is standard normal noise."""


@dataclass(frozen=True)
class Ancestral(DiffusionSampler):
    """Draws from the posterior at the estimate of x_0 (Ho et al. 2020, Alg. 2), also over fewer steps than T.

    The variance is the posterior's own, the smaller of the two in Sec. 3.2.
    """

    steps: int = 250

    def __call__(self, denoise: Denoise, x_t: Tensor, process: Diffusion, noise: Noise) -> Tensor:
        """Return x_0."""
        for now, before in pairwise(process.levels(self.steps)):
            q = posterior(now, before)
            x_t = q.x_0_weight * denoise(x_t, now) + q.x_t_weight * x_t
            if before is not CLEAN:
                x_t = x_t + sqrt(q.variance) * noise()
        return x_t


@dataclass(frozen=True)
class DDIM(DiffusionSampler):
    """Denoising diffusion implicit models (Song et al. 2021, Eq. 12 and 16).

    Args:
        steps: Evaluations of the net.
        guidance: Scale of classifier-free guidance.
        guidance_from: Time from which on it is applied.
        guidance_to: Time up to which it is applied.
        clip: Clip each estimate of x_0 to [-1, 1].
        eta: Share of new noise: 0 for none, 1 for as much as `Ancestral`.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be in [0, 1], got {self.eta}")

    def __call__(self, denoise: Denoise, x_t: Tensor, process: Diffusion, noise: Noise) -> Tensor:
        """Return x_0."""
        for now, before in pairwise(process.levels(self.steps)):
            x_0 = denoise(x_t, now)
            eps = (x_t - now.alpha * x_0) / now.sigma
            variance = self.eta**2 * posterior(now, before).variance
            x_t = before.alpha * x_0 + sqrt(before.sigma**2 - variance) * eps
            if variance > 0:
                x_t = x_t + sqrt(variance) * noise()
        return x_t


@dataclass(frozen=True)
class DPMSolver(DiffusionSampler):
    """DPM-Solver++(2M), multistep and of second order (Lu et al. 2022, Alg. 2), or its SDE variant (App. B).

    The first step and the last one, to the clean image, are of first order.

    Args:
        steps: Evaluations of the net.
        guidance: Scale of classifier-free guidance.
        guidance_from: Time from which on it is applied.
        guidance_to: Time up to which it is applied.
        clip: Clip each estimate of x_0 to [-1, 1].
        sde: Solve the reverse SDE, with new noise at each step, in place of the ODE.
    """

    steps: int = 20
    sde: bool = False

    def __call__(self, denoise: Denoise, x_t: Tensor, process: Diffusion, noise: Noise) -> Tensor:
        """Return x_0."""
        last: Level | None = None
        x_0_last = x_t
        for now, before in pairwise(process.levels(self.steps)):
            x_0 = denoise(x_t, now)
            if before is CLEAN:
                return x_0
            step = before.log_snr - now.log_snr
            data = x_0
            if last is not None:
                data = x_0 + 0.5 * step / (now.log_snr - last.log_snr) * (x_0 - x_0_last)
            x_t = self._move(x_t, data, now, before, step, noise)
            last, x_0_last = now, x_0
        return x_t

    def _move(self, x_t: Tensor, data: Tensor, now: Level, before: Level, step: float, noise: Noise) -> Tensor:
        """Solve one step of length `step` in lambda, with the estimate of x_0 held at `data`."""
        if not self.sde:
            return before.sigma / now.sigma * x_t + before.alpha * (1 - exp(-step)) * data
        added = 1 - exp(-2 * step)
        mean = before.sigma / now.sigma * exp(-step) * x_t + before.alpha * added * data
        return mean + before.sigma * sqrt(added) * noise()
