"""Scores by class, memorisation and reconstruction errors against their definitions."""

from __future__ import annotations

import pytest
import torch
from metric_inputs import fill, gaussian
from torch import Tensor

from condgen.metrics import Diversity, FrechetDistance, IntraClassFrechetDistance, Memorisation, ReconstructionError


def three_classes(count: int, seed: int, dim: int = 6) -> tuple[Tensor, Tensor]:
    label = torch.arange(count) % 3
    return gaussian(count, dim, seed) + 4.0 * label[:, None], label


def test_intra_class_distance_is_the_mean_of_the_classes_distances() -> None:
    (real, truth), (fake, label) = three_classes(150, 1), three_classes(121, 2)
    metric = IntraClassFrechetDistance()
    got = fill(metric, real, fake, label, truth)["intra_fd"]
    each = [fill(FrechetDistance(), real[truth == k], fake[label == k])["fd"] for k in range(3)]
    assert metric.per_class()["fd"].tolist() == pytest.approx(each, rel=1e-12)
    assert got == pytest.approx(sum(each) / 3, rel=1e-12)


def test_it_sees_classes_that_are_mixed_up() -> None:
    (real, truth), (fake, label) = three_classes(300, 1), three_classes(300, 1)
    mixed = (label + 1) % 3
    assert fill(FrechetDistance(), real, fake, mixed, truth)["fd"] < 1e-9
    assert fill(IntraClassFrechetDistance(), real, fake, label, truth)["intra_fd"] < 1e-9
    assert fill(IntraClassFrechetDistance(), real, fake, mixed, truth)["intra_fd"] > 50


def test_diversity_is_the_ratio_of_mean_pairwise_distances() -> None:
    (real, truth), (fake, label) = three_classes(60, 1), three_classes(45, 2)
    metric = Diversity()
    got = fill(metric, real, fake, label, truth)["diversity"]
    ratios = []
    for k in range(3):
        apart = []
        for x in (real[truth == k], fake[label == k]):
            unit = x.double() / x.double().norm(dim=1, keepdim=True)
            apart.append(torch.pdist(unit).square().mean())
        ratios.append(float(apart[1] / apart[0]))
    assert metric.per_class()["diversity"].tolist() == pytest.approx(ratios, rel=1e-10)
    assert got == pytest.approx(sum(ratios) / 3, rel=1e-10)


def test_diversity_falls_where_one_class_collapses() -> None:
    (real, truth), (fake, label) = three_classes(90, 1), three_classes(90, 2)
    fake[label == 1] = fake[1].clone()
    metric = Diversity()
    score = fill(metric, real, fake, label, truth)["diversity"]
    table = metric.per_class()["diversity"].tolist()
    assert table[1] == pytest.approx(0.0, abs=1e-12)
    assert min(table[0], table[2]) > 0.5
    assert score == pytest.approx(sum(table) / 3)
    with pytest.raises(ValueError, match="the same features"):
        fill(Diversity(), torch.ones(90, 6), fake, label, truth)


@pytest.mark.parametrize("metric", [IntraClassFrechetDistance(), Diversity()])
def test_classes_that_a_side_lacks_are_named(metric: IntraClassFrechetDistance | Diversity) -> None:
    (real, truth), (fake, label) = three_classes(60, 1), three_classes(60, 2)
    metric.reset()
    with pytest.raises(ValueError, match="classes 0, 2 have fewer than 2 generated images"):
        fill(metric, real, fake[label == 1], label[label == 1], truth)
    metric.reset()
    with pytest.raises(ValueError, match="class 2 has fewer than 2 real images"):
        fill(metric, real[truth < 2], fake, label, truth[truth < 2])
    with pytest.raises(ValueError, match="needs the labels of generated images"):
        metric.update(fake, None, real=False)


def test_the_fewest_images_of_a_class_are_told() -> None:
    (real, truth), (fake, label) = three_classes(60, 1), three_classes(16, 2)
    metric = IntraClassFrechetDistance()
    fill(metric, real, fake, label, truth)
    assert metric.warnings() == ["5 samples of a class for 6 features: the covariance has no full rank"]
    assert Diversity().per_class() == {}


def memorisation(train: Tensor, held_out: Tensor, fake: Tensor) -> tuple[float, float, float]:
    metric = Memorisation()
    for part in train.split(50):
        metric.update_train(part)
    value = fill(metric, held_out, fake)["memorisation"]
    low, high = metric.intervals()["memorisation"]
    return value, float(low), float(high)


def test_memorisation_is_nothing_for_new_images_and_one_for_copies() -> None:
    x = gaussian(2300, 8, 1)
    train, held_out, new = x[:1200], x[1200:1600], x[1600:]
    value, low, high = memorisation(train, held_out, new)
    assert low < 0.0 < high < 0.3
    assert low < value < high
    assert memorisation(train, held_out, train + 1e-4)[0] == 1.0
    assert memorisation(train, held_out, torch.cat([train[:350], new[:350]]))[0] == pytest.approx(0.5, abs=0.15)
    assert memorisation(train, held_out, train + 1e-4)[1] > 0.95
    for poor in (new + 20.0, 0.2 * new, new[:1].repeat(500, 1)):  # all nearest to few images, which proves nothing
        assert memorisation(train, held_out, poor)[1] < 0.0


def test_memorisation_counts_nearest_images() -> None:
    train, held_out, fake = gaussian(30, 4, 1), gaussian(20, 4, 2), gaussian(40, 4, 3)
    fake[0] = held_out[0]
    train[3] = held_out[0]  # as near to both
    near = [torch.cdist(fake.double(), x.double()).min(dim=1).values for x in (train, held_out)]
    shared = (near[1][1:] < near[0][1:]).sum() + 0.5
    value, low, high = memorisation(train, held_out, fake)
    assert value == pytest.approx(1 - float(shared) / 40 / 0.4)
    assert low < value < high
    with pytest.raises(ValueError, match="no training images"):
        fill(Memorisation(), held_out, fake)


def test_reconstruction_error_is_that_of_grey_levels() -> None:
    image = torch.randint(0, 256, (7, 1, 4, 4), dtype=torch.uint8)
    target = torch.randint(0, 256, (7, 1, 4, 4), dtype=torch.uint8)
    metric = ReconstructionError()
    for rows in (slice(0, 3), slice(3, 7)):
        metric.update(image[rows], target[rows])
    mse = (image.double() - target.double()).square().mean()
    scores = metric.compute()
    assert float(scores["reconstruction_mse"]) == pytest.approx(float(mse), rel=1e-12)
    assert float(scores["reconstruction_psnr"]) == pytest.approx(float(-10 * torch.log10(mse / 255**2)), rel=1e-12)
    for bad in (image.float(), image[:3]):
        with pytest.raises(ValueError, match="uint8 of one shape"):
            metric.update(bad, target)
    metric.reset()
    with pytest.raises(ValueError, match="no images"):
        metric.compute()
