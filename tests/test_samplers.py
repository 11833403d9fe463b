"""Samplers against diffusers' schedulers, against exact solutions, and against each other."""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from condgen.processes import (
    DDIM,
    Ancestral,
    CosineSchedule,
    Diffusion,
    DiffusionSampler,
    DPMSolver,
    Level,
    LinearSchedule,
)

SHAPE = (2, 3, 4, 4)
STEPS = 25


def fixed_noises(count: int) -> list[Tensor]:
    source = torch.Generator().manual_seed(5)
    return [torch.randn(SHAPE, generator=source, dtype=torch.float64) for _ in range(count)]


def x_0_net(x: Tensor, t: int) -> Tensor:
    """Some smooth function of x and t, beyond [-1, 1] in places, for a trained net's estimate of x_0."""
    return 1.5 * torch.sin(2.0 * x + 0.003 * t)


def run_ours(sampler: DiffusionSampler, process: Diffusion, noises: list[Tensor]) -> Tensor:
    def denoise(x_t: Tensor, level: Level) -> Tensor:
        x_0 = x_0_net(x_t, level.t)
        return x_0.clamp(-1.0, 1.0) if sampler.clip else x_0

    rest = iter(noises[1:])
    return sampler(denoise, noises[0], process, lambda: next(rest))


def run_theirs(scheduler: Any, noises: list[Tensor], monkeypatch: pytest.MonkeyPatch, **kwargs: Any) -> Tensor:
    import diffusers.schedulers.scheduling_ddpm as ddpm

    rest = iter(noises[1:])
    monkeypatch.setattr(ddpm, "randn_tensor", lambda *args, **kw: next(rest))
    scheduler.set_timesteps(STEPS)
    x = noises[0]
    for t in scheduler.timesteps:
        extra = {key: next(rest) for key in kwargs.get("noise_key", ())}
        x = scheduler.step(x_0_net(x, int(t)), t, x, **extra, **kwargs.get("step", {})).prev_sample
    return x


SCHEDULES = {"linear": LinearSchedule(), "cosine": CosineSchedule()}
DIFFUSERS = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
COMMON = {"num_train_timesteps": 1000, "timestep_spacing": "trailing", "prediction_type": "sample"}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(
    ("ours", "theirs", "options", "run"),
    [
        (Ancestral(STEPS, clip=False), "DDPMScheduler", {"clip_sample": False}, {}),
        (Ancestral(STEPS), "DDPMScheduler", {"clip_sample": True}, {}),
        (DDIM(STEPS, clip=False), "DDIMScheduler", {"clip_sample": False}, {}),
        (DDIM(STEPS), "DDIMScheduler", {"clip_sample": True}, {"step": {"use_clipped_model_output": True}}),
        (
            DDIM(STEPS, clip=False, eta=0.7),
            "DDIMScheduler",
            {"clip_sample": False},
            {"noise_key": ("variance_noise",), "step": {"eta": 0.7}},
        ),
        (
            DPMSolver(STEPS, clip=False),
            "DPMSolverMultistepScheduler",
            {"algorithm_type": "dpmsolver++", "solver_order": 2, "final_sigmas_type": "zero"},
            {},
        ),
        (
            DPMSolver(STEPS, clip=False, sde=True),
            "DPMSolverMultistepScheduler",
            {"algorithm_type": "sde-dpmsolver++", "solver_order": 2, "final_sigmas_type": "zero"},
            {"noise_key": ("variance_noise",)},
        ),
    ],
    ids=["ancestral", "ancestral-clip", "ddim", "ddim-clip", "ddim-eta", "dpm++2m", "sde-dpm++2m"],
)
def test_samplers_agree_with_diffusers(
    name: str,
    ours: DiffusionSampler,
    theirs: str,
    options: dict[str, Any],
    run: dict[str, Any],
    float64_schedulers: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import diffusers

    scheduler = getattr(diffusers, theirs)(**DIFFUSERS[name], **COMMON, **options)
    noises = fixed_noises(STEPS + 1)
    process = Diffusion(SCHEDULES[name], 1000)
    assert torch.allclose(scheduler.alphas_cumprod.double(), process.alpha_bar, atol=1e-12)
    scheduler.set_timesteps(STEPS)
    assert [level.t for level in process.levels(STEPS)[:-1]] == scheduler.timesteps.tolist()
    expected = run_theirs(scheduler, noises, monkeypatch, **run)
    assert 0.5 < expected.abs().max() < 10
    assert (run_ours(ours, process, noises) - expected).abs().max() <= 1e-5


# ---------------------------------------------------------------------- a Gaussian, for which all is known

MEAN = torch.linspace(-0.8, 0.8, 40, dtype=torch.float64).view(1, 40, 1, 1)
VARIANCE = torch.linspace(0.05, 2.0, 40, dtype=torch.float64).view(1, 40, 1, 1)


def gaussian_denoise(x_t: Tensor, level: Level, mean: Tensor = MEAN, variance: Tensor = VARIANCE) -> Tensor:
    """E[x_0 | x_t] for independent x_0 ~ N(mean, variance)."""
    return (mean * level.sigma**2 + level.alpha * variance * x_t) / (level.alpha**2 * variance + level.sigma**2)


def no_noise() -> Tensor:
    raise AssertionError("a deterministic sampler draws no noise")


def ode_error(sampler: DiffusionSampler, process: Diffusion) -> float:
    """Root mean squared distance from the exact solution of the probability-flow ODE."""
    x = torch.linspace(-2, 2, 41, dtype=torch.float64).view(1, 1, 1, -1).expand(1, 40, 1, 41)
    first = process.level(process.num_steps - 1)
    z = (x - first.alpha * MEAN) / (first.alpha**2 * VARIANCE + first.sigma**2).sqrt()
    error = sampler(gaussian_denoise, x, process, no_noise) - (MEAN + VARIANCE.sqrt() * z)
    return float(error.square().mean().sqrt())


@pytest.mark.parametrize(
    ("make", "order"),
    [(lambda steps: DDIM(steps, clip=False), 1), (lambda steps: DPMSolver(steps, clip=False), 2)],
    ids=["ddim", "dpm++2m"],
)
def test_the_error_falls_with_the_order_of_the_sampler(make: Callable[[int], DiffusionSampler], order: int) -> None:
    process = Diffusion(LinearSchedule(), 20_000)
    steps = [10, 20, 40, 80, 160, 320]
    log_steps = torch.tensor([log(n) for n in steps])
    log_error = torch.tensor([log(ode_error(make(n), process)) for n in steps])
    slope = -torch.cov(torch.stack([log_steps, log_error]))[0, 1] / log_steps.var()
    assert slope >= order - 0.2


@pytest.mark.parametrize(
    "sampler",
    [Ancestral(1000, clip=False), DDIM(1000, clip=False, eta=1.0), DDIM(500, eta=0.5, clip=False),
     DPMSolver(250, clip=False, sde=True)],
    ids=["ancestral", "ddim-1", "ddim-0.5", "sde-dpm++2m"],
)  # fmt: skip
def test_stochastic_samplers_reach_the_mean_and_the_variance(sampler: DiffusionSampler) -> None:
    count, dims = 2000, slice(None, None, 4)
    source = torch.Generator().manual_seed(1)
    mean, variance = MEAN[:, dims], VARIANCE[:, dims]
    shape = (count, mean.shape[1], 1, 1)

    def noise() -> Tensor:
        return torch.randn(shape, generator=source, dtype=torch.float64)

    def denoise(x_t: Tensor, level: Level) -> Tensor:
        return gaussian_denoise(x_t, level, mean, variance)

    out = sampler(denoise, noise(), Diffusion(CosineSchedule(), 1000), noise)
    z_mean = (out.mean(dim=0) - mean[0]) / (variance[0] / count).sqrt()
    z_variance = (out.var(dim=0) / variance[0] - 1) / sqrt(2 / (count - 1))
    assert z_mean.abs().max() < 4
    assert z_variance.abs().max() < 4


def test_ddim_with_eta_1_is_the_ancestral_sampler() -> None:
    noises, process = fixed_noises(STEPS + 1), Diffusion(CosineSchedule(), 1000)
    one, other = (run_ours(s, process, noises) for s in (Ancestral(STEPS), DDIM(STEPS, eta=1.0)))
    assert torch.allclose(one, other, atol=1e-10)


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
@pytest.mark.parametrize("sampler", [Ancestral, DDIM, DPMSolver])
def test_any_number_of_steps_works(sampler: type[DiffusionSampler], steps: int) -> None:
    out = run_ours(sampler(steps=steps, clip=False), Diffusion(CosineSchedule(), 100), fixed_noises(steps + 1))
    assert torch.isfinite(out).all()


@pytest.mark.parametrize(
    ("sampler", "settings", "message"),
    [
        (DDIM, {"steps": 0}, "steps must be at least 1, got 0"),
        (DDIM, {"guidance": -1.0}, "guidance must be a finite number >= 0, got -1.0"),
        (DPMSolver, {"guidance": float("nan")}, "guidance must be a finite number >= 0, got nan"),
        (DDIM, {"guidance_from": 0.5, "guidance_to": 0.5}, "must be 0 <= from < to <= 1, got 0.5 and 0.5"),
        (DDIM, {"eta": 1.5}, r"eta must be in \[0, 1\], got 1.5"),
    ],
)
def test_wrong_settings_are_named(sampler: type[DiffusionSampler], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampler(**settings)


def test_more_steps_than_the_process_has_are_refused() -> None:
    with pytest.raises(ValueError, match="at most the 10 steps of the diffusion, got steps=11"):
        Diffusion(LinearSchedule(), 10).levels(11)
