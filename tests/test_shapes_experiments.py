"""The manifests of experiments/shapes train and are scored by what they ask for; their table tells their results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import REPO

from condgen.cli import main

sys.path.insert(0, str(REPO))

from experiments.shapes import run as shapes

FOLDER = REPO / "experiments" / "shapes"
SCORES = {"text": "all_facts", "attributes": "position", "mask": "mask_iou", "super": "psnr"}


def test_every_manifest_has_a_test() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(shapes.TESTS)


@pytest.mark.parametrize("name", shapes.TESTS)
def test_a_manifest_trains_and_is_scored(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = [word for split in ("train", "validation", "test") for word in (f"--data.n_{split}", "40")]
    tiny = ["--trainer.max_steps", "2", "--trainer.limit_val_batches", "0", "--data.batch_size", "4",
            "--model.sample_chunk", "8", "--trainer.accelerator", "cpu", "--grid.columns", "1",
            "--grid.max_rows", "2", "--evaluation.n_samples", "16"]  # fmt: skip
    steps = ["--model.sampler.steps", "2"] if "ddpm" in name else []
    assert main(["fit", "-c", str(FOLDER / f"{name}.yaml"), *few, *tiny, *steps]) == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert list(run.glob("samples/*.png"))
    for args in shapes.TESTS[name].values():
        assert main(["test", "-c", str(run), "--ckpt_path", str(run), "--runs", "tests", *args]) == 0
    for folder in tmp_path.glob("tests/*/*"):
        found = json.loads((folder / "metrics.json").read_text())["scores"][SCORES[name.partition("_")[0]]]
        assert found["better"] == "higher"
        assert "super" in name or found["floor"]["mean"] > 0.9  # real images show what they are said to show


def test_the_table_is_that_of_the_results() -> None:
    results = json.loads((FOLDER / "results.json").read_text())
    assert shapes.report(results) == (FOLDER / "results.md").read_text()
    for row in results["rows"]:
        assert (FOLDER / "grids" / f"{row['model']}.png").is_file()


def test_baselines_are_measured() -> None:
    assert 25.0 < shapes.bicubic()["psnr"] < 31.0
    assert 0.15 < shapes.other_masks()["mask_iou"] < 0.25
