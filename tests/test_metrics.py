"""Kernel distance, Inception score and label accuracy against references, and what all metrics refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from metric_inputs import fill, gaussian

from condgen.metrics import PRDC, DistributionMetric, FrechetDistance, InceptionScore, KernelDistance, LabelAccuracy
from condgen.metrics.intervals import everyone
from condgen.metrics.kernel import kernel_distances, squared_mmd, squared_mmd_of_sets


def test_kernel_distance_equals_torch_fidelity_by_the_same_subsets() -> None:
    from torch_fidelity.metric_kid import kid_features_to_metric

    x, y = gaussian(150, 24, 1), gaussian(120, 24, 2, shift=0.2)
    settings = {"kid_subsets": 7, "kid_subset_size": 50, "rng_seed": 3, "kid_kernel": "poly", "verbose": False}
    kernel = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    theirs = kid_features_to_metric(x.double(), y.double(), **settings, **kernel)["kernel_inception_distance_mean"]
    source = np.random.RandomState(3)
    subsets = [[torch.from_numpy(source.choice(n, 50, replace=False)) for n in (150, 120)] for _ in range(7)]
    assert float(kernel_distances(x, y, subsets).mean()) == pytest.approx(theirs, rel=1e-6)


def test_inception_score_equals_torch_fidelity() -> None:
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = gaussian(300, 10, 3) * 3
    reference = isc_features_to_metric(logits, splits=1, shuffle=False)["inception_score_mean"]
    assert fill(InceptionScore(lambda f: f), logits, logits)["is"] == pytest.approx(reference, rel=1e-6)


def test_kernel_distance_is_unbiased_and_repeats_itself() -> None:
    x = gaussian(2000, 8, 1)
    far = fill(KernelDistance(), x[:1000], x[1000:] + 1.0)["kid"]
    assert abs(fill(KernelDistance(), x[:1000], x[1000:])["kid"]) < 0.02 * far
    assert fill(KernelDistance(), x[:1000], x[1000:] + 1.0)["kid"] == far


def test_kernel_distances_of_sets_are_those_of_the_sets_alone() -> None:
    x, y = gaussian(60, 8, 1), gaussian(60, 8, 2, 0.3)
    of_all = squared_mmd_of_sets(x, y, everyone(y))
    real_alone = squared_mmd(x.double(), y.double()) - of_all
    assert float(real_alone) == pytest.approx(float(squared_mmd(x.double(), -x.double())
                                                    - squared_mmd_of_sets(x, -x, everyone(x))), rel=1e-9)  # fmt: skip
    member = torch.zeros(90, 2, dtype=torch.bool)
    member[:60, 0] = True
    member[30:, 1] = True
    z = gaussian(90, 8, 2, 0.3)
    for got, rows in zip(squared_mmd_of_sets(x, z, member), (z[:60], z[30:]), strict=True):
        assert float(got + real_alone) == pytest.approx(float(squared_mmd(x.double(), rows.double())), rel=1e-9)


def test_kernel_distance_takes_all_of_a_small_side_unless_told_otherwise() -> None:
    metric = KernelDistance()
    fill(metric, gaussian(400, 4, 1), gaussian(90, 4, 1))
    assert metric.settings == {"kid_subsets": 100, "kid_subset_size": 90}
    with pytest.raises(ValueError, match="kid: subsets of 100 images of 400 real and 90 generated ones"):
        fill(KernelDistance(subset_size=100), gaussian(400, 4, 1), gaussian(90, 4, 1))
    with pytest.raises(ValueError, match="subset_size >= 2, got 100 and 1"):
        KernelDistance(subset_size=1)


def test_a_constant_generator_and_a_dead_feature_give_finite_scores() -> None:
    real, fake = gaussian(200, 8, 1), torch.ones(150, 8)
    real[:, 3] = 0.0
    for metric in (FrechetDistance(), KernelDistance(), PRDC(k=3), InceptionScore(lambda x: x)):
        assert all(np.isfinite(value) for value in fill(metric, real, fake).values())
        assert all(torch.isfinite(torch.stack(ends)).all() for ends in metric.intervals().values())


def test_label_accuracy_counts_generated_images_only() -> None:
    answers = torch.tensor([0, 1, 2, 3, 0, 0])
    logits, label = torch.eye(4)[answers], torch.tensor([0, 1, 2, 0, 0, 3])
    metric = LabelAccuracy(lambda f: f, 4)
    assert fill(metric, logits, logits, label) == {"label_accuracy": pytest.approx(4 / 6)}
    tables = metric.per_class()
    assert tables["confusion"].tolist() == [[2, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]]
    assert tables["label_accuracy"].tolist() == pytest.approx([2 / 3, 1.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="needs the label"):
        metric.update(logits, None, real=False)
    with pytest.raises(ValueError, match=r"label must be in \[0, 3\], got 4"):
        metric.update(logits, label + 1, real=False)
    metric.reset()
    with pytest.raises(ValueError, match="no generated images"):
        metric.compute()


@pytest.mark.parametrize(
    "metric", [FrechetDistance(), KernelDistance(), PRDC(), InceptionScore(lambda f: f), LabelAccuracy(lambda f: f, 4)]
)
def test_metrics_refuse_what_is_not_a_feature(metric: DistributionMetric) -> None:
    for features, message in (
        (torch.zeros(3, 4, dtype=torch.float64), "float32"),
        (torch.zeros(3, 4, 1), r"\(N, D\)"),
        (torch.tensor([[1.0, 2.0], [torch.nan, 1.0]]), "finite, but those of 1 of 2 images are not"),
    ):
        with pytest.raises(ValueError, match=message):
            metric.update(features, None, real=False)


def test_metrics_name_the_side_that_is_empty_or_unlike() -> None:
    for metric in (PRDC(), FrechetDistance(), KernelDistance()):
        metric.update(gaussian(9, 4, 1), None, real=True)
        with pytest.raises(ValueError, match="no generated images"):
            metric.compute()
        metric.update(gaussian(9, 5, 1), None, real=False)
        with pytest.raises(ValueError, match="real images have 4 features, generated ones 5"):
            metric.compute()
    with pytest.raises(ValueError, match=r"9 generated images have labels \(8,\)"):
        PRDC().update(gaussian(9, 4, 1), torch.arange(8), real=False)
    with pytest.raises(RuntimeError, match=r"compute must be called first"):
        PRDC().intervals()
