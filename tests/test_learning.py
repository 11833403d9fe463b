"""Each family learns the digits: the manifests of experiments/digits, from the command line to the scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import REPO

from condgen.cli import main

MANIFESTS = sorted((REPO / "experiments" / "digits").glob("*.yaml"))


def test_there_is_a_manifest_for_each_family() -> None:
    assert {path.stem for path in MANIFESTS} == {"cgan", "dcgan", "vae", "ddpm"}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_family_learns_the_digits(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "-c", str(path), "--trainer.accelerator", "cpu"]) == 0
    (run,) = tmp_path.glob("runs/*/*")
    options = ["--evaluation.n_samples", "500", "--evaluation.floor", "false", "--runs", "tests"]
    assert main(["test", "-c", str(run), "--ckpt_path", str(run), *options]) == 0
    (metrics,) = tmp_path.glob("tests/*/*/metrics.json")
    scores = {name: row["value"] for name, row in json.loads(metrics.read_text())["scores"].items()}
    assert scores["label_accuracy"] >= 0.9
    assert scores["recall"] > 0.1
    assert scores["coverage"] > 0.5
