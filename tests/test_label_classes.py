"""Label accuracy is measured for the extractor's own classes, matched by name, and left out for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from conftest import small_cgan

from condgen.callbacks import EvaluateSamples
from condgen.data import Digits, MemoryImages
from condgen.metrics import ClassifierExtractor, Extractor, evaluate
from condgen.metrics.extractors import WEIGHTS


class Renamed(ClassifierExtractor):
    """The digits' classifier, as if its classes had other names and another order."""

    def __init__(self, names: list[str], order: list[int]) -> None:
        super().__init__(str(WEIGHTS / "digits.safetensors"))
        self.order = order
        self.class_names = [names[place] for place in order]

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return super().logits(features)[:, self.order]


WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
DIGIT_NAMES = [str(digit) for digit in range(10)]
SHUFFLED = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]


def scored(extractor: Extractor, names: list[str] | None, digits: Digits) -> dict[str, Any]:
    images = digits.images("test").take(torch.arange(100))
    side = MemoryImages(images.pixels, images.cond["label"], names)
    return evaluate(side, side, extractor, subset_size=50)


def test_classes_are_matched_by_name(digits: Digits) -> None:
    plain, renamed = (scored(Renamed(DIGIT_NAMES, order), DIGIT_NAMES, digits) for order in (range(10), SHUFFLED))
    assert plain["scores"]["label_accuracy"]["value"] > 0.9
    for part in ("label_accuracy", "confusion"):
        assert renamed["per_class"][part] == plain["per_class"][part]
    assert renamed["warnings"] == plain["warnings"]


def test_accuracy_on_another_set_s_classes_is_left_out(digits: Digits) -> None:
    result = scored(Renamed(WORDS, list(range(10))), DIGIT_NAMES, digits)
    assert "label_accuracy" not in result["scores"]
    assert "fd_digits" in result["scores"]
    line = "label_accuracy is left out: the extractor knows the classes zero, one, two, three, four, five, six, seven, "
    assert result["warnings"][0].startswith(line)
    assert result["warnings"][0].endswith("and the images 0, 1, 2, 3, 4, 5, 6, 7, 8, 9")


def test_numbers_of_classes_are_taken_as_places_and_that_is_said(digits: Digits) -> None:
    numbered, named = (scored(Renamed(names, list(range(10))), None, digits) for names in (WORDS, DIGIT_NAMES))
    assert numbered["scores"]["label_accuracy"] == named["scores"]["label_accuracy"]
    assert numbered["warnings"][0].startswith("label_accuracy takes numbers of classes as places among the extractor's")
    assert not any("label_accuracy" in line for line in named["warnings"])


def test_the_callback_leaves_other_classes_out_too(
    make_trainer: Callable[..., L.Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    data = Digits()
    data.cond_spec = {"label": {"names": WORDS}}
    model = small_cgan(data, sample_chunk=60)

    def result(names: list[str], order: list[int]) -> dict[str, Any]:
        callback = EvaluateSamples(Renamed(names, order), n_samples=60, subset_size=30)
        make_trainer(callbacks=[callback]).test(model, data, verbose=False)
        assert callback.result is not None
        return callback.result

    plain, mapped = result(WORDS, list(range(10))), result(WORDS, SHUFFLED)
    assert mapped["scores"]["label_accuracy"] == plain["scores"]["label_accuracy"]
    other = result(DIGIT_NAMES, list(range(10)))
    assert "label_accuracy" not in other["scores"]
    assert other["warnings"][0].startswith("label_accuracy is left out: ")
    assert "warning: label_accuracy is left out: " in capsys.readouterr().out
