"""Intervals against the spread of scores over many draws of samples."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from metric_inputs import fill, gaussian
from torch import Tensor

from condgen.metrics import (
    PRDC,
    DistributionMetric,
    Diversity,
    FrechetDistance,
    InceptionScore,
    IntraClassFrechetDistance,
    KernelDistance,
)
from condgen.metrics.intervals import T_19, jackknife_error, random_halves, wilson_interval

DIM, SAMPLES, REPEATS = 4, 200, 60


@pytest.mark.parametrize(
    ("make", "tolerance"),
    [
        (FrechetDistance, 0.3),
        (lambda: KernelDistance(subsets=10), 0.3),
        (lambda: InceptionScore(lambda f: f), 0.3),
        (IntraClassFrechetDistance, 0.3),
        (Diversity, 0.3),
        (lambda: PRDC(k=3, draws=2), 0.4),
    ],
)
def test_standard_errors_are_the_spread_over_draws_of_samples(
    make: Callable[[], DistributionMetric], tolerance: float
) -> None:
    real, truth = gaussian(300, DIM, 1), torch.arange(300) % 2
    label = torch.arange(SAMPLES) % 2
    values: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    for seed in range(REPEATS):
        source = torch.Generator().manual_seed(seed)
        fake = 0.9 * torch.randn(SAMPLES, DIM, generator=source) + 0.3 + 0.3 * label[:, None]
        metric = make()
        for name, value in fill(metric, real, fake, label, truth).items():
            values.setdefault(name, []).append(value)
            low, high = metric.intervals()[name]
            errors.setdefault(name, []).append(float(high - low) / 2 / T_19)
    for name, of_name in values.items():
        spread = float(torch.tensor(of_name).std())
        assert sum(errors[name]) / REPEATS == pytest.approx(spread, rel=tolerance), name


def test_the_error_of_a_mean_is_the_textbooks() -> None:
    ratios = []
    for seed in range(40):
        x = torch.randn(101, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        member = random_halves(x, None)
        halves = member.T.double() @ x / member.sum(dim=0)
        ratios.append(float(jackknife_error(halves, member) / (x.std() / 101**0.5)))
    assert sum(ratios) / len(ratios) == pytest.approx(1.0, abs=0.1)


def test_halves_are_halves_of_every_class_and_repeat_themselves() -> None:
    label = torch.arange(90) % 9
    member = random_halves(label, label)
    assert member.shape == (90, 20)
    assert (member.sum(dim=0) == 45).all()
    assert all((member[label == k].sum(dim=0) == 5).all() for k in range(9))
    assert len(member.T.unique(dim=0)) == 20
    assert torch.equal(member, random_halves(label, label))


def test_wilson_intervals_cover_a_proportion_and_stay_within_0_and_1() -> None:
    """Against the table of Newcombe 1998 (method 3), and by simulation."""
    for hits, count, expected in ((81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611))):
        ends = wilson_interval(torch.tensor(hits), torch.tensor(count))
        assert [float(end) for end in ends] == pytest.approx(expected, abs=2e-4)
    hits = torch.distributions.Binomial(50, torch.tensor(0.95)).sample((2000,))
    low, high = wilson_interval(hits, torch.full((2000,), 50.0))
    assert float(((low < 0.95) & (high > 0.95)).double().mean()) > 0.93
    assert float(high.max()) <= 1.0


def few(count: int) -> Tensor:
    return gaussian(count, DIM, 3)


def test_too_few_samples_have_no_interval() -> None:
    label = torch.arange(6) % 2
    for metric in (PRDC(k=3), Diversity(), IntraClassFrechetDistance()):
        fill(metric, gaussian(40, DIM, 1), few(6), label, torch.arange(40) % 2)
        assert metric.intervals() == {}
    for metric in (FrechetDistance(), KernelDistance(), InceptionScore(lambda f: f)):
        fill(metric, gaussian(40, DIM, 1), few(3))
        assert metric.intervals() == {}


def test_intervals_end_where_scores_do() -> None:
    real = gaussian(100, DIM, 1)
    metric = PRDC(k=3)
    fill(metric, real, real + 1e-3)
    for name, (low, high) in metric.intervals().items():
        assert 0.0 <= low <= high
        assert name == "density" or high <= 1.0
    distance = FrechetDistance()
    fill(distance, gaussian(100, DIM, 1), gaussian(30, DIM, 1))
    assert float(distance.intervals()["fd"][0]) >= 0.0
