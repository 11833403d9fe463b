"""The experiment on the style of digits: it trains, and its tables are those of what it keeps."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, mnist_root

from condgen.cli import main
from condgen.data import ImageSet
from condgen.metrics.strokes import stroke_style
from condgen.models.asking import Asked

sys.path.insert(0, str(REPO))

from experiments.style import run as style

FOLDER = REPO / "experiments" / "style"
TINY = ["--trainer.max_steps", "1", "--trainer.accelerator", "cpu", "--data.batch_size", "2", "--grid.max_rows", "2"]
TINY += ["--model.sampler.steps", "2", "--model.sample_chunk", "8"]


def read(folder: Path) -> np.ndarray:
    return np.loadtxt(folder / "per_image.csv", delimiter=",", skiprows=1)


def test_it_trains_measures_and_keeps_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verbs, out = [], tmp_path / "out"

    def condgen(verb: str, *args: str) -> None:
        verbs.append(verb)
        fast = ["--evaluation.extractor", "null"] if verb == "test" else []  # 20,000 real images have no part in it
        assert main([verb, *args, *fast]) == 0

    monkeypatch.setattr(style, "condgen", condgen)
    where = ["--root", str(mnist_root()), "--runs", str(tmp_path / "runs"), "--out", str(out), "--samples", "24"]
    monkeypatch.setattr(sys, "argv", ["run", *where, "--", *TINY])
    style.main()
    assert verbs == ["fit", "test"]
    results, rows = json.loads((out / "results.json").read_text()), read(out)
    assert style.report(results, rows) == (out / "results.md").read_text()
    assert set(results["by_style"]) == set(style.NAMES)
    assert len(rows) == results["protocol"]["n_samples"] == 24
    assert (rows[:, 0] != rows[:, 1]).all()
    assert results["by_style"]["samples"]["slant_error"]["value"] == pytest.approx(
        np.abs(rows[:, 4] - rows[:, 6]).mean(), abs=1e-3
    )
    tried = {float(scale): value for scale, value in results["validation_by_guidance"].items()}
    assert tried[results["protocol"]["sampler"]["init_args"]["guidance"]] == max(tried.values())
    assert (
        results["by_style"]["same_hand"]["slant_r"]["low"] > 0.4 > results["by_style"]["other_hand"]["slant_r"]["high"]
    )
    assert (out / "grid.png").is_file()


def test_real_images_are_matched_by_what_is_usual_for_their_class() -> None:
    """Class 1 is written three times as wide as class 0: the match of the widest is the widest."""
    widths = torch.tensor([2, 3, 4, 5]).repeat(10)
    label = torch.arange(10).repeat_interleave(4)
    pixels = torch.zeros(40, 1, 32, 32, dtype=torch.uint8)
    for image, width, k in zip(pixels, widths, label, strict=True):
        image[0, 2:30, 5 : 5 + int(width) * (3 if k == 1 else 1) + int(k == 0)] = 255
        image[0, 2:4, 5:7] = 0  # leans a little, each differently
    train = ImageSet(pixels, {"label": label})
    asked = Asked(
        {"label": torch.tensor([1, 1, 0]), "reference": torch.tensor([2, 2, 1]), "style": pixels[[8, 11, 7]]}, None
    )
    found = stroke_style(style.matched(asked, train))[:, 0]
    expected = stroke_style(pixels[[4, 7, 3]])[:, 0]
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not (FOLDER / "results.json").is_file(), reason="no results yet")
def test_the_tables_are_those_of_the_results() -> None:
    results = json.loads((FOLDER / "results.json").read_text())
    assert style.report(results, read(FOLDER)) == (FOLDER / "results.md").read_text()
