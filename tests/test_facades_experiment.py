"""The experiment on facades, on made pairs: its manifests train, and its table is that of the counts it keeps."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import REPO
from image_files import palette, picture, write_zip

from condgen.cli import main

sys.path.insert(0, str(REPO))

from experiments.facades import run as facades

FOLDER = REPO / "experiments" / "facades"
TINY = ["--trainer.max_steps", "1", "--trainer.accelerator", "cpu", "--data.batch_size", "2"]
COUNTS = {"train": 4, "val": 2, "test": 5}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Pairs in the layout of the data: the label map has two classes, which the photo's red tells roughly."""
    files, source = {}, np.random.default_rng(0)
    for split, count in COUNTS.items():
        for i in range(count):
            files[f"{split}/label/{i:03d}.png"] = palette(source.integers(0, 2, (64, 64)) * 5 + 1)
            files[f"{split}/photo/{i:03d}.png"] = picture(40 * i, (64, 64))
    return write_zip(tmp_path / "pairs.zip", files)


def test_every_manifest_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {"segmenter", *facades.MODELS}


def test_l1_alone_is_pix2pix_but_for_the_weights_of_its_other_terms() -> None:
    one, other = (yaml.safe_load((FOLDER / f"{name}.yaml").read_text()) for name in ("l1", "pix2pix"))
    arguments = one["model"]["init_args"]
    assert arguments.pop("adversarial_weight") == arguments["classifier_weight"] == 0.0
    arguments["classifier_weight"] = other["model"]["init_args"]["classifier_weight"]
    assert one == other


def test_models_are_trained_judged_and_compared_by_pairs(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs, few = [], ["--model.sampler.steps", "2", "--model.sample_chunk", "4", "--grid.max_rows", "2"]

    def condgen(verb: str, *args: str) -> None:
        verbs.append(verb)
        assert main([verb, *args]) == 0

    def run(*args: str, options: Sequence[str] = ()) -> dict[str, Any]:
        where = ["--root", str(pairs), "--runs", str(tmp_path / "runs"), "--out", str(out := tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", ["run", *where, *args, "--", *TINY, *options])
        facades.main()
        results: dict[str, Any] = json.loads((out / "results.json").read_text())
        assert facades.report(results) == (out / "results.md").read_text()
        return results

    monkeypatch.setattr(facades, "condgen", condgen)
    run("--models", "pix2pix")
    assert verbs == ["fit", "fit", "test"]
    (segmenter,) = (tmp_path / "runs" / "segmenter").iterdir()
    run("--models", "pix2pix,l1", "--segmenter", str(segmenter))
    results = run("--models", "ddpm", "--segmenter", str(segmenter), options=few)
    assert verbs == ["fit", *["fit", "test"] * 3]
    assert [row["model"] for row in results["rows"]] == ["pix2pix", "l1", "ddpm"]
    tried = {float(scale): value for scale, value in results["rows"][2]["validation_by_guidance"].items()}
    chosen = results["rows"][2]["protocol"]["sampler"]["init_args"]["guidance"]
    assert set(tried) == set(facades.GUIDANCE)
    assert tried[chosen] == max(tried.values())
    for row in results["rows"]:
        assert row["protocol"]["segmenter"]["sha256"] == results["segmenter"]["sha256"]
        assert row["protocol"]["n_samples"] == COUNTS["test"]
        for score in facades.SCORES:
            by_map, by_test = results["by_map"][row["model"]][score], row["scores"][score]
            for key in ("value", "low", "high"):
                assert by_map[key] == pytest.approx(by_test[key], abs=1e-6)
            real = results["by_map"]["real"][score]["value"]
            assert by_test["floor"]["mean"] == pytest.approx(real)
    assert {path.name for path in (tmp_path / "out" / "grids").iterdir()} == {f"{name}.png" for name in facades.MODELS}


def test_leads_are_measured_by_pairs(tmp_path: Path) -> None:
    """One image is hard for both models; the better one has 2 of 10 pixels more in each."""
    right = np.array([2, 8, 7, 8])
    for name, common in (("l1", right), ("pix2pix", right + 2)):
        np.savetxt(tmp_path / f"{name}.csv", np.stack([common, 20 - common], axis=1), delimiter=",", header="a,b")
    found = facades.by_map(tmp_path)
    lead = found["pix2pix"]["pixel_accuracy"]["above_l1"]
    assert lead == pytest.approx({"value": 0.2, "low": 0.2, "high": 0.2})
    assert found["l1"]["pixel_accuracy"]["high"] > found["pix2pix"]["pixel_accuracy"]["low"]
    assert "above_l1" not in found["l1"]["pixel_accuracy"]


@pytest.mark.skipif(not (FOLDER / "results.json").is_file(), reason="no results yet")
def test_the_table_is_that_of_the_results() -> None:
    results = json.loads((FOLDER / "results.json").read_text())
    assert facades.report(results) == (FOLDER / "results.md").read_text()
    assert facades.by_map(FOLDER / "per_image") == results["by_map"]
