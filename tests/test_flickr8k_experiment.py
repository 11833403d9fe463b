"""The experiment on photos with captions, on made pairs: its manifests train, and its table is that of its results."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import REPO
from image_files import picture, write_zip

from condgen.cli import main
from condgen.conditions.tokenisers import to_captions

sys.path.insert(0, str(REPO))

from experiments.flickr8k import run as flickr8k

FOLDER = REPO / "experiments" / "flickr8k"
TINY = ["--trainer.max_steps", "1", "--trainer.accelerator", "cpu", "--trainer.limit_val_batches", "0"]
TINY += ["--data.batch_size", "2", "--data.workers", "0"]
COUNTS = {"train": 24, "val": 20, "test": 24}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Photos in the layout of the data, five captions each, of which the first says the photo's number."""
    files, lines = {}, []
    for split, count in COUNTS.items():
        for i in range(count):
            name = f"images/{split}{i}.png"
            files[name] = picture(7 * i, (64, 64))
            texts = [f"photo {i} of {count} .", *(f"a {word} thing ." for word in ("red", "small", "new", "wet"))]
            lines.append(json.dumps({"file": name, "split": split, "captions": texts}))
    (tmp_path / "captions.jsonl").write_text("\n".join(lines) + "\n")
    write_zip(tmp_path / "flickr8k_64.zip", files)
    return tmp_path


def test_every_manifest_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {"tagger", *flickr8k.MODELS}


def test_the_baseline_lacks_the_captions_alone() -> None:
    text, plain = (yaml.safe_load((FOLDER / f"{name}_ddpm.yaml").read_text()) for name in ("text", "plain"))
    assert text["include"] == [*plain["include"], "condition/text_tokens.yaml"]
    assert plain["model"]["init_args"].pop("encoder") == "condgen.conditions.NoCondition"
    assert plain["model"]["init_args"].pop("sampler") == {"init_args": {"guidance": 1.0}}
    assert {**text, "include": None} == {**plain, "include": None}


def test_models_are_trained_and_judged(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verbs, few = [], ["--model.sampler.steps", "2", "--model.sample_chunk", "8", "--grid.max_rows", "2"]

    def condgen(verb: str, *args: str) -> None:
        verbs.append(verb)
        assert main([verb, *args]) == 0

    def run(*args: str, options: Sequence[str] = ()) -> dict[str, Any]:
        where = ["--data", str(pairs), "--runs", str(tmp_path / "runs"), "--out", str(out := tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", ["run", *where, "--samples", "20", *args, "--", *TINY, *options])
        flickr8k.main()
        results: dict[str, Any] = json.loads((out / "results.json").read_text())
        assert flickr8k.report(results) == (out / "results.md").read_text()
        return results

    monkeypatch.setattr(flickr8k, "condgen", condgen)
    results = run("--models", "")
    assert set(results["real"]) == {"test", "others", "train"}
    (tagger,) = (tmp_path / "runs" / "tagger").iterdir()
    run("--tagger", str(tagger), "--models", "text_ddpm", options=few)
    results = run("--tagger", str(tagger), options=few)
    assert verbs == ["fit", "fit", "fit"]
    text, plain = results["rows"]
    assert (text["model"], plain["model"]) == flickr8k.MODELS
    tried = {float(scale): value for scale, value in text["validation_by_guidance"].items()}
    assert set(tried) == set(flickr8k.GUIDANCE)
    assert tried[text["protocol"]["guidance"]] == max(tried.values())
    assert plain["validation_by_guidance"] == {}
    for row in results["rows"]:
        assert row["protocol"]["tagger"]["sha256"] == results["tagger"]["sha256"]
        assert row["protocol"]["n_samples"] == 20
        assert {"fd", *flickr8k.BY_CAPTION, *flickr8k.BY_FEATURES} <= set(row["scores"])
        assert row["scores"]["fd"]["value"] > results["real"]["train"]["fd"]["value"]
    lines = (tmp_path / "out" / "grids" / "text_ddpm.txt").read_text().splitlines()
    assert len(lines) == 2


def test_each_photo_is_judged_once_by_its_first_caption(pairs: Path, tmp_path: Path) -> None:
    where = ["--data.table", str(pairs / "captions.jsonl"), "--data.root", str(pairs / "flickr8k_64.zip")]
    experiment = flickr8k.Experiment.__new__(flickr8k.Experiment)
    experiment.data, experiment.samples = flickr8k.data_module(str(FOLDER / "text_ddpm.yaml"), where), 1000
    rows = experiment.one_of_each("test")
    assert [text.decode() for text in to_captions(rows.cond["text"])] == [f"photo {i} of 24 ." for i in range(24)]
    assert len(np.unique(torch.flatten(rows.pixels, 1).numpy(), axis=0)) == 24


@pytest.mark.skipif(not (FOLDER / "results.json").is_file(), reason="no results yet")
def test_the_table_is_that_of_the_results() -> None:
    results = json.loads((FOLDER / "results.json").read_text())
    assert flickr8k.report(results) == (FOLDER / "results.md").read_text()
