"""The forward process, its schedules and posterior, what is predicted and how errors are weighted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from condgen.objectives import MinSNR, Prediction, PredictNoise, PredictV, PredictX0, Sigmoid, Simple, SimpleX0, guided
from condgen.processes import CLEAN, CosineSchedule, Diffusion, LinearSchedule, NoiseSchedule, posterior

SCHEDULES = st.one_of(
    st.builds(lambda low, factor: LinearSchedule(low, low * factor), st.floats(1e-6, 1e-3), st.floats(1, 50)),
    st.builds(CosineSchedule, st.floats(1e-4, 0.1)),
)
PREDICTIONS = [PredictNoise(), PredictX0(), PredictV()]


@settings(max_examples=60, deadline=None)
@given(SCHEDULES, st.integers(2, 3000))
def test_schedules_are_monotone_and_finite(schedule: NoiseSchedule, num_steps: int) -> None:
    betas, process = schedule.betas(num_steps), Diffusion(schedule, num_steps)
    assert betas.shape == (num_steps,)
    assert (betas > 0).all()
    assert (betas <= 0.999).all()
    assert (betas.diff() >= -1e-12).all()
    assert (process.alpha_bar.diff() < 0).all()
    assert (process.alpha_bar > 0).all()
    assert (process.alpha_bar < 1).all()
    levels = process.levels(num_steps)
    assert levels[-1] is CLEAN
    assert [level.t for level in levels] == [*range(num_steps - 1, -1, -1), -1]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 1000), st.data())
def test_levels_begin_at_the_last_step_and_never_repeat(num_steps: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, num_steps))
    times = [level.t for level in Diffusion(CosineSchedule(), num_steps).levels(steps)]
    assert times[0] == num_steps - 1
    assert len(set(times)) == steps + 1
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("schedule", [LinearSchedule(), CosineSchedule()])
def test_the_image_is_gone_at_the_end(schedule: NoiseSchedule) -> None:
    for num_steps in (50, 100, 1000, 4000):
        assert Diffusion(schedule, num_steps).alpha_bar[-1] < 1e-3


def test_a_step_of_q_sample_is_the_closed_form_of_all_steps_before() -> None:
    process, t = Diffusion(LinearSchedule(), 100), 60
    x = torch.full((20_000, 1, 1, 1), 0.7, dtype=torch.float64)
    source = torch.Generator().manual_seed(0)
    for beta in LinearSchedule().betas(100)[: t + 1]:
        x = (1 - beta).sqrt() * x + beta.sqrt() * torch.randn(x.shape, generator=source, dtype=x.dtype)
    alpha, sigma = process.scales(torch.tensor([t]), x)
    assert abs(x.mean() - alpha * 0.7) < 4 * sigma / 20_000**0.5
    assert abs(x.var() / sigma**2 - 1) < 4 * (2 / 20_000) ** 0.5


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda p: type(p).__name__)
def test_q_sample_and_back(prediction: Prediction) -> None:
    process = Diffusion(CosineSchedule(), 50)
    t = torch.arange(50)
    x_0, noise = torch.rand(50, 2, 4, 4, dtype=torch.float64) * 2 - 1, torch.randn(50, 2, 4, 4, dtype=torch.float64)
    x_t, scales = process.q_sample(x_0, t, noise), process.scales(t, x_0)
    target = prediction.target(x_0, noise, *scales)
    assert torch.allclose(prediction.x_0(target, x_t, *scales), x_0, atol=1e-9)
    wrong = target + 0.1
    ratio = (wrong - target).square() / (prediction.x_0(wrong, x_t, *scales) - x_0).square()
    assert torch.allclose(ratio.mean(dim=(1, 2, 3)), prediction.error_ratio(process.snr(t)), rtol=1e-6)


def test_min_snr_weighs_the_error_in_x_0_alike_for_all_predictions() -> None:
    snr = torch.tensor([0.01, 1.0, 5.0, 100.0], dtype=torch.float64)
    for prediction in PREDICTIONS:
        in_x_0 = MinSNR(5.0)(prediction, snr) * prediction.error_ratio(snr)
        assert torch.allclose(in_x_0, torch.tensor([0.01, 1.0, 5.0, 5.0], dtype=torch.float64))
        assert torch.equal(Simple()(prediction, snr), torch.ones(4, dtype=torch.float64))
        assert torch.allclose(SimpleX0()(prediction, snr) * prediction.error_ratio(snr), torch.ones_like(snr))


def test_sigmoid_weighs_the_error_in_the_noise_by_a_sigmoid_of_the_bias_less_log_snr() -> None:
    snr = torch.logspace(-4, 4, 9, dtype=torch.float64)
    in_noise = Sigmoid(-2.0)(PredictNoise(), snr)
    due = torch.sigmoid(-2.0 - snr.log())
    assert torch.allclose(in_noise / in_noise[0], due / due[0], rtol=1e-12)
    in_x_0 = [Sigmoid()(prediction, snr) * prediction.error_ratio(snr) for prediction in PREDICTIONS]
    assert torch.allclose(in_x_0[0], in_x_0[1])
    assert torch.allclose(in_x_0[0], in_x_0[2])
    assert float(in_x_0[0][-1]) == pytest.approx(1, abs=1e-4)


def test_the_posterior_agrees_with_diffusers(float64_schedulers: None) -> None:
    from diffusers import DDPMScheduler

    scheduler, process = DDPMScheduler(1000, variance_type="fixed_small"), Diffusion(LinearSchedule(), 1000)
    x_0, x_t = torch.rand(1, 1, 4, 4, dtype=torch.float64), torch.randn(1, 1, 4, 4, dtype=torch.float64)
    for t in (1, 10, 500, 999):
        level, q = process.level(t), posterior(process.level(t), process.level(t - 1))
        eps = (x_t - level.alpha * x_0) / level.sigma
        theirs = scheduler.step(eps, t, x_t, generator=torch.Generator().manual_seed(0)).prev_sample
        noise = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(0), dtype=x_t.dtype)
        ours = q.x_0_weight * x_0 + q.x_t_weight * x_t + q.variance**0.5 * noise
        assert float(scheduler._get_variance(t)) == pytest.approx(q.variance, rel=1e-9)
        assert torch.allclose(ours, theirs, atol=1e-9)


def test_a_schedule_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="does not lower what is left of the image at each step"):
        Diffusion(LinearSchedule(0.3, 0.9), 1000)


@pytest.mark.parametrize("betas", [[0.1, 0.0], [0.1, float("nan")], [-0.1, 0.2], [0.5, 1.0]])
def test_a_schedule_that_is_none_is_refused(betas: list[float]) -> None:
    class Given(NoiseSchedule):
        def betas(self, num_steps: int) -> torch.Tensor:
            return torch.tensor(betas, dtype=torch.float64)

    with pytest.raises(ValueError, match="does not lower what is left of the image at each step"):
        Diffusion(Given(), 2)


def test_guidance_is_u_plus_s_times_the_difference() -> None:
    c, u = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(guided([u, c], [1.0]), c)
    assert torch.equal(guided([u, c], [0.0]), u)
    assert torch.allclose(guided([u, c], [2.5]), u + 2.5 * (c - u))
    w = 1.5
    assert torch.allclose(guided([u, c], [1 + w]), (1 + w) * c - w * u)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Diffusion(CosineSchedule(), 1), "num_steps, the length of the diffusion, must be at least 2, got 1"),
        (lambda: LinearSchedule(0.5, 0.1), "0 < start <= end < 1, got start=0.5 and end=0.1"),
        (lambda: CosineSchedule(0.0), "finite offset > 0, got 0.0"),
        (lambda: CosineSchedule(float("nan")), "finite offset > 0, got nan"),
        (lambda: CosineSchedule(shift=-1.0), "finite shift > 0, got -1.0"),
        (lambda: LinearSchedule(float("nan"), 0.1), "0 < start <= end < 1, got start=nan"),
        (lambda: MinSNR(0.0), "finite gamma > 0, got 0.0"),
        (lambda: Sigmoid(float("nan")), "finite bias, got nan"),
        (lambda: MinSNR(float("inf")), "finite gamma > 0, got inf"),
    ],
)
def test_wrong_numbers_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_steps_outside_the_schedule_are_refused() -> None:
    process, x = Diffusion(CosineSchedule(), 10), torch.zeros(1, 1, 2, 2)
    for t in (-1, 10):
        with pytest.raises(ValueError, match=r"t must be in \[0, 9\]"):
            process.q_sample(x, torch.tensor([t]), x)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.25, 8.0), st.integers(2, 2000))
def test_shifted_schedules_lose_the_image_step_by_step(shift: float, num_steps: int) -> None:
    process = Diffusion(CosineSchedule(shift=shift), num_steps)
    assert (process.alpha_bar.diff() < 0).all()
    assert 0.0 < float(process.alpha_bar[-1]) < float(process.alpha_bar[0]) < 1.0


def test_a_shift_divides_signal_over_noise_at_every_time() -> None:
    t = torch.arange(1000)
    plain, shifted = (Diffusion(CosineSchedule(shift=shift), 1000).snr(t).double() for shift in (1.0, 4.0))
    ratio = (plain / shifted)[5:990]
    assert ratio.sqrt().mean() == pytest.approx(4.0, rel=0.02)
    assert ratio.sqrt().std() < 0.1
