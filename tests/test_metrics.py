"""Every metric against a reference: closed forms, scipy, torch-fidelity, and published formulas in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from condgen.metrics import PRDC, DistributionMetric, FrechetDistance, InceptionScore, KernelDistance, LabelAccuracy
from condgen.metrics.frechet import frechet_distance
from condgen.metrics.kernel import squared_mmd
from condgen.metrics.manifold import prdc


def gaussian(count: int, dim: int, seed: int, shift: float = 0.0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=source) / dim**0.5
    return torch.randn(count, dim, generator=source) @ mix + shift


def score(metric: DistributionMetric, real: Tensor, fake: Tensor, label: Tensor | None = None) -> dict[str, float]:
    for part in real.split(97):
        metric.update(part, None, real=True)
    start = 0
    for part in fake.split(61):
        metric.update(part, None if label is None else label[start : start + len(part)], real=False)
        start += len(part)
    return {name: float(value) for name, value in metric.compute().items()}


def scipy_distance(real: Tensor, fake: Tensor) -> float:
    x, y = real.double().numpy(), fake.double().numpy()
    cov_x, cov_y = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(cov_x @ cov_y).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root))


@pytest.mark.parametrize("dim", [2, 16, 64])
def test_frechet_distance_equals_scipy(dim: int) -> None:
    real, fake = gaussian(4 * dim, dim, 1), gaussian(5 * dim + 3, dim, 2, shift=0.3)
    assert score(FrechetDistance(dim), real, fake)["fd"] == pytest.approx(scipy_distance(real, fake), rel=1e-9)


def test_frechet_distance_of_commuting_gaussians_has_a_closed_form() -> None:
    a, b = torch.logspace(0, -8, 50, dtype=torch.float64), torch.linspace(0.5, 2.0, 50, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(50, 50, dtype=torch.float64))[0]
    mean = torch.randn(50, dtype=torch.float64)
    got = frechet_distance(mean, basis * a @ basis.T, mean + 0.1, basis * b @ basis.T)
    assert float(got) == pytest.approx(50 * 0.01 + float((a.sqrt() - b.sqrt()).square().sum()), rel=1e-10)


@pytest.mark.parametrize("rank", [0, 1, 20])
def test_frechet_distance_survives_singular_covariances(rank: int) -> None:
    scale = torch.zeros(50, dtype=torch.float64)
    scale[:rank] = torch.linspace(1.0, 2.0, rank) if rank else 0.0
    other = torch.linspace(0.5, 2.0, 50, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(50, 50, dtype=torch.float64))[0]
    low, full = basis * scale @ basis.T, basis * other @ basis.T
    mean, expected = torch.zeros(50, dtype=torch.float64), float((scale.sqrt() - other.sqrt()).square().sum())
    assert float(frechet_distance(mean, low, mean, full)) == pytest.approx(expected, rel=1e-9)
    assert float(frechet_distance(mean, full, mean, low)) == pytest.approx(expected, rel=1e-9)
    assert float(frechet_distance(mean, low, mean, low)) == pytest.approx(0.0, abs=1e-9)


def test_a_constant_generator_and_a_dead_feature_give_finite_scores() -> None:
    real, fake = gaussian(200, 8, 1), torch.ones(150, 8)
    real[:, 3] = 0.0
    for metric in (FrechetDistance(8), KernelDistance(), PRDC(k=3), InceptionScore(lambda x: x, 8)):
        assert all(np.isfinite(value) for value in score(metric, real, fake).values())
    assert score(PRDC(k=3), real, fake)["recall"] == 0.0


def test_kernel_distance_and_inception_score_equal_torch_fidelity() -> None:
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kernel_mmd

    x, y = gaussian(120, 24, 1), gaussian(120, 24, 2, shift=0.2)
    kernel = {"poly_degree": 3, "poly_gamma": None, "poly_coef0": 1}
    settings = {f"kid_kernel_{key}": value for key, value in kernel.items()}
    theirs = kernel_mmd(x.double(), y.double(), kid_kernel="poly", **settings)
    assert float(squared_mmd(x.double(), y.double())) == pytest.approx(float(theirs), rel=1e-6)
    logits = gaussian(300, 10, 3) * 3
    reference = isc_features_to_metric(logits, splits=1, shuffle=False)["inception_score_mean"]
    assert score(InceptionScore(lambda f: f, 10), logits, logits)["is"] == pytest.approx(reference, rel=1e-6)


def test_kernel_distance_is_unbiased_and_repeats_itself() -> None:
    x = gaussian(2000, 8, 1)
    far = score(KernelDistance(), x[:1000], x[1000:] + 1.0)["kid"]
    assert abs(score(KernelDistance(), x[:1000], x[1000:])["kid"]) < 0.02 * far
    assert score(KernelDistance(), x[:1000], x[1000:] + 1.0)["kid"] == far


def numpy_prdc(real: np.ndarray, fake: np.ndarray, k: int) -> list[float]:
    """The published formulas, by loops over pairs."""
    distance = lambda a, b: np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))  # noqa: E731
    radius_r, radius_f = (np.sort(distance(s, s), axis=1)[:, k] for s in (real, fake))
    d = distance(real, fake)
    return [
        float((d < radius_r[:, None]).any(axis=0).mean()),
        float((d < radius_f[None]).any(axis=1).mean()),
        float((d < radius_r[:, None]).sum(axis=0).mean() / k),
        float((d.min(axis=1) < radius_r).mean()),
    ]


@pytest.mark.parametrize(("n", "m", "k", "shift"), [(60, 60, 3, 0.0), (80, 50, 5, 0.5), (40, 90, 1, 3.0)])
def test_prdc_equals_the_published_formulas(n: int, m: int, k: int, shift: float) -> None:
    real, fake = gaussian(n, 6, 1), gaussian(m, 6, 1, shift)
    expected = numpy_prdc(real.double().numpy(), fake.double().numpy(), k)
    assert prdc(real, fake, k).tolist() == pytest.approx(expected, abs=1e-12)


def test_prdc_averages_draws_of_equal_size() -> None:
    real, fake = gaussian(60, 6, 1), gaussian(500, 6, 1)
    one, ten = score(PRDC(draws=1), real, fake), score(PRDC(draws=10), real, fake)
    assert score(PRDC(draws=10), real, fake) == ten != one
    assert all(round(value * 60 * 10) == pytest.approx(value * 600, abs=1e-6) for value in (ten["precision"],))


def test_a_collapsed_generator_is_precise_but_has_no_recall() -> None:
    real = gaussian(300, 6, 1)
    collapsed = real[:1] + 1e-3 * gaussian(300, 6, 2)
    scores = score(PRDC(), real, collapsed)
    assert scores["precision"] > 0.9
    assert scores["recall"] < 0.05
    assert scores["coverage"] < 0.2


def test_label_accuracy_counts_generated_images_only() -> None:
    logits = torch.eye(4)[torch.tensor([0, 1, 2, 3, 0, 0])]
    label = torch.tensor([0, 1, 2, 0, 0, 3])
    assert score(LabelAccuracy(lambda f: f), logits, logits, label) == {"label_accuracy": pytest.approx(4 / 6)}
    with pytest.raises(ValueError, match="needs the label"):
        LabelAccuracy(lambda f: f).update(logits, None, real=False)


@pytest.mark.parametrize("metric", [FrechetDistance(4), KernelDistance(), PRDC(), InceptionScore(lambda f: f, 4)])
def test_metrics_refuse_what_is_not_a_feature(metric: DistributionMetric) -> None:
    for features, message in (
        (torch.zeros(3, 4, dtype=torch.float64), "float32"),
        (torch.zeros(3, 4, 1), r"\(N, D\)"),
        (torch.full((3, 4), torch.nan), "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            metric.update(features, None, real=False)


def test_metrics_name_the_side_that_is_empty() -> None:
    metric = PRDC()
    metric.update(gaussian(9, 4, 1), None, real=True)
    with pytest.raises(ValueError, match="no generated images"):
        metric.compute()
    frechet = FrechetDistance(4)
    frechet.update(gaussian(9, 4, 1), None, real=True)
    with pytest.raises(ValueError, match="at least 2 images on the fake side, got 0"):
        frechet.compute()
