from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from condgen.data import Digits, ImageSet
from condgen.metrics import Score, classification_accuracy_score
from condgen.nets import ConvClassifier

NET = partial(ConvClassifier, widths=(16, 32), feature_dim=64)


def score(images: Tensor, label: Tensor, real: ImageSet, **kwargs: Any) -> float:
    return scored(images, label, real, **kwargs).value


def scored(images: Tensor, label: Tensor, real: ImageSet, **kwargs: Any) -> Score:
    return classification_accuracy_score(images, label, real.pixels, real.cond["label"], num_classes=10, **kwargs)


def test_real_images_teach_a_classifier_and_shuffled_labels_do_not(digits: Digits) -> None:
    train, test = digits.images("train"), digits.images("test")
    assert score(train.pixels, train.cond["label"], test, net=NET) > 0.95
    shuffled = train.cond["label"][torch.randperm(len(train))]
    assert 0.02 < score(train.pixels, shuffled, test, net=NET) < 0.25


def test_the_interval_is_wilson_s_for_the_real_images(digits: Digits) -> None:
    train, test = digits.images("train").take(torch.arange(100)), digits.images("test")
    for count in (90, 360):
        real = test.take(torch.arange(count))
        result = scored(train.pixels, train.cond["label"], real, net=NET, epochs=3)
        ends = binomtest(round(result.value * count), count).proportion_ci(method="wilson")
        assert result.low == pytest.approx(ends.low, abs=1e-5)
        assert result.high == pytest.approx(ends.high, abs=1e-5)


def test_a_collapsed_generator_scores_lower(digits: Digits) -> None:
    """One image per class, repeated: each is of the right class, which label accuracy would not punish."""
    train, test = digits.images("train"), digits.images("test")
    first = torch.stack([(train.cond["label"] == number).nonzero()[0, 0] for number in range(10)])
    label = train.cond["label"]
    assert score(train.pixels[first][label], label, test, net=NET) < 0.8


def test_it_is_a_function_of_its_arguments(digits: Digits) -> None:
    train, test = digits.images("train"), digits.images("test")
    images, label = train.pixels[:300], train.cond["label"][:300]
    state = torch.get_rng_state()
    first = score(images, label, test, net=NET, epochs=2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert score(images, label, test, net=NET, epochs=2) == first
    assert len({score(images, label, test, net=NET, epochs=2, seed=seed) for seed in range(4)}) > 1


def test_few_images_are_one_batch_and_all_real_ones_are_judged(digits: Digits) -> None:
    train, test = digits.images("train"), digits.images("test")
    seen: list[int] = []

    class Spy(ConvClassifier):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(len(image))
            return super().forward(image)

    score(train.pixels[:50], train.cond["label"][:50], test, net=partial(Spy, widths=(4, 4)), epochs=3)
    score(train.pixels[:300], train.cond["label"][:300], test, net=partial(Spy, widths=(4, 4)), epochs=1)
    assert seen == [50, 50, 50, 360, 128, 128, 360]


def test_wrong_arguments_are_named(digits: Digits) -> None:
    test = digits.images("test")
    pixels, label = test.pixels, test.cond["label"]
    with pytest.raises(TypeError, match="pixels must be uint8"):
        score(pixels.float(), label, test)
    with pytest.raises(ValueError, match="360 generated images have 359 labels"):
        score(pixels, label[1:], test)
    with pytest.raises(ValueError, match=r"label must be in \[0, 9\], got 10"):
        score(pixels, label + 1, test)
    with pytest.raises(ValueError, match=r"image must be \(N, 1, 4, 4\), got \(360, 1, 8, 8\)"):
        score(pixels[:, :, :4, :4], label, test)
    with pytest.raises(ValueError, match="at least 2 images and 1 epoch, got 1 and 10"):
        score(pixels[:1], label[:1], test)
