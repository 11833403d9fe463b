"""Sets of images for the tests of `condgen evaluate`, and short ways to score them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from condgen.cli import main
from condgen.data import Digits, ImageSet
from condgen.metrics import DigitsExtractor, evaluate
from condgen.pictures import save_png

NAMES = [str(digit) for digit in range(10)]
EVALUATE = ["evaluate", "data/digits.yaml"]
DIGITS = ["--extractor", "digits"]


def twenty_of_each(digits: Digits) -> ImageSet:
    """200 training images, 20 of each class, in the order of their classes."""
    train = digits.images("train")
    label = train.cond["label"]
    return train.take(torch.cat([(label == digit).nonzero()[:20, 0] for digit in range(10)]))


def write_pngs(images: ImageSet, folder: Path) -> Path:
    """Write images into class subfolders."""
    for place, (image, label) in enumerate(zip(images.pixels, images.cond["label"].tolist(), strict=True)):
        save_png(image, folder / NAMES[label] / f"{place:04}.png")
    return folder


def values(result: dict[str, Any]) -> dict[str, float]:
    return {name: row["value"] for name, row in result["scores"].items()}


def fast(real: Any, fake: Any, **settings: Any) -> dict[str, Any]:
    return evaluate(real, fake, DigitsExtractor(), floor=False, subset_size=50, **settings)


class Fails:
    """Runs a command that must fail with one line and a code, and returns the line."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *args: object, code: int = 2) -> str:
        assert main([str(arg) for arg in args]) == code
        lines = self.capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        return lines[0]
