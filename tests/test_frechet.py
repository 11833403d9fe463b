"""The Fréchet distance against scipy, torch-fidelity, closed forms and the nuclear norm."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from metric_inputs import fill, gaussian
from torch import Tensor

from condgen.metrics import FrechetDistance, frechet
from condgen.metrics.frechet import Gaussian, fit_gaussian, frechet_distance


def scipy_distance(real: Tensor, fake: Tensor) -> float:
    x, y = real.double().numpy(), fake.double().numpy()
    cov_x, cov_y = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(cov_x @ cov_y).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root))


def nuclear_distance(real: Tensor, fake: Tensor) -> float:
    """The distance by singular values of all centred features, exact whatever the rank."""
    x, y = real.double(), fake.double()
    a, b = ((side - side.mean(0)) / (len(side) - 1) ** 0.5 for side in (x, y))
    apart = (x.mean(0) - y.mean(0)).square().sum()
    return float(apart + a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum())


@pytest.mark.parametrize("dim", [2, 16, 64, 300])
def test_it_equals_scipy(dim: int) -> None:
    real, fake = gaussian(2 * dim + 2, dim, 1), gaussian(5 * dim + 3, dim, 2, shift=0.3)
    assert fill(FrechetDistance(), real, fake)["fd"] == pytest.approx(scipy_distance(real, fake), rel=1e-9)


def test_it_equals_torch_fidelity() -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    real, fake = gaussian(130, 64, 1), gaussian(200, 64, 2, shift=0.1)
    statistics = [fid_features_to_statistics(x.double()) for x in (real, fake)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert fill(FrechetDistance(), real, fake)["fd"] == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(30, 40), (30, 64), (30, 500), (64, 65), (500, 20), (2, 2)])
def test_with_fewer_images_than_features_it_equals_the_nuclear_norm(n: int, m: int) -> None:
    real, fake = gaussian(n, 64, 1), gaussian(m, 64, 2, shift=0.2)
    assert fill(FrechetDistance(), real, fake)["fd"] == pytest.approx(nuclear_distance(real, fake), rel=1e-9)


@pytest.mark.parametrize(("rank", "other"), [(1, 64), (10, 64), (10, 10), (63, 64), (10, 30)])
def test_with_a_short_rank_it_equals_the_nuclear_norm(rank: int, other: int) -> None:
    real = gaussian(300, rank, 1) @ torch.randn(rank, 64)
    fake = gaussian(400, other, 2) @ torch.randn(other, 64) + 0.1
    assert fill(FrechetDistance(), real, fake)["fd"] == pytest.approx(nuclear_distance(real, fake), rel=1e-9)


def test_correlated_features_of_very_unequal_scale_equal_the_nuclear_norm() -> None:
    scale = torch.logspace(2, -6, 64)
    real, fake = gaussian(200, 64, 1) * scale + 100, gaussian(300, 64, 2) * scale + 100
    assert fill(FrechetDistance(), real, fake)["fd"] == pytest.approx(nuclear_distance(real, fake), rel=1e-9)


def test_commuting_gaussians_have_a_closed_form() -> None:
    a, b = torch.logspace(0, -8, 50, dtype=torch.float64), torch.linspace(0.5, 2.0, 50, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(50, 50, dtype=torch.float64))[0]
    mean = torch.randn(50, dtype=torch.float64)
    first, second = Gaussian(mean, basis * a.sqrt(), None), Gaussian(mean + 0.1, basis * b.sqrt(), None)
    expected = 50 * 0.01 + float((a.sqrt() - b.sqrt()).square().sum())
    assert float(frechet_distance(first, second)) == pytest.approx(expected, rel=1e-10)
    full = [
        x._replace(root=torch.linalg.cholesky(x.root @ x.root.T), covariance=x.root @ x.root.T) for x in (first, second)
    ]
    assert float(frechet_distance(*full)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rank", [1, 20, 49])
def test_low_rank_gaussians_have_a_closed_form(rank: int) -> None:
    scale = torch.zeros(50, dtype=torch.float64)
    scale[:rank] = torch.linspace(1.0, 2.0, rank)
    other = torch.linspace(0.5, 2.0, 50, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(50, 50, dtype=torch.float64))[0]
    mean = torch.zeros(50, dtype=torch.float64)
    low, full = (Gaussian(mean, basis * x.sqrt(), None) for x in (scale, other))
    expected = float((scale.sqrt() - other.sqrt()).square().sum())
    assert float(frechet_distance(low, full)) == pytest.approx(expected, rel=1e-9)
    assert float(frechet_distance(full, low)) == pytest.approx(expected, rel=1e-9)
    assert float(frechet_distance(low, low)) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("count", [3, 200])
def test_a_constant_generator_and_dead_features_are_measured(count: int) -> None:
    real = gaussian(300, 8, 1)
    real[:, 3] = 5.3
    fake = torch.full((count, 8), 0.7)
    expected = float((real.double().mean(0) - fake.double().mean(0)).square().sum() + real.double().var(0).sum())
    assert fill(FrechetDistance(), real, fake)["fd"] == pytest.approx(expected, rel=1e-12)
    assert fill(FrechetDistance(), fake, fake)["fd"] == pytest.approx(0.0, abs=1e-12)


def test_features_far_from_zero_lose_no_digits() -> None:
    real, fake = gaussian(200, 8, 1), gaussian(300, 8, 2)
    moved = [(x + 2.0**12) for x in (real, fake)]  # rounds the features, so both are moved back for the reference
    expected = nuclear_distance(*(x.double() - 2.0**12 for x in moved))
    assert fill(FrechetDistance(), *moved)["fd"] == pytest.approx(expected, rel=1e-9)


def test_a_rank_that_cannot_be_full_is_told() -> None:
    metric = FrechetDistance()
    fill(metric, gaussian(65, 64, 1), gaussian(64, 64, 2))
    assert metric.warnings() == ["64 samples for 64 features: the covariance has no full rank"]
    metric.reset()
    fill(metric, gaussian(30, 64, 1), gaussian(65, 64, 2))
    assert metric.warnings() == ["30 real images for 64 features: the covariance has no full rank"]


def test_one_image_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        fill(FrechetDistance(), gaussian(9, 4, 1), gaussian(1, 4, 1))


def test_the_root_is_that_of_the_covariance() -> None:
    for x in (gaussian(40, 20, 1), gaussian(15, 20, 1), gaussian(40, 3, 1) @ torch.randn(3, 20)):
        fitted = fit_gaussian(x)
        expected = np.cov(x.double().numpy().T)
        assert torch.allclose(fitted.root @ fitted.root.T, torch.from_numpy(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rank", [20, 5])
def test_blocks_do_not_change_the_distance(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = gaussian(150, rank, 1) @ torch.randn(rank, 20), gaussian(130, 20, 2)
    whole = fill(FrechetDistance(), real, fake)["fd"]
    monkeypatch.setattr(frechet, "ROWS", 32)
    monkeypatch.setattr(frechet, "COLUMNS", 7)
    assert fill(FrechetDistance(), real, fake)["fd"] == pytest.approx(whole, rel=1e-12)
