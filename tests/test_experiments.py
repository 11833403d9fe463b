"""The tables of the experiments say what their results hold."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import yaml
from conftest import REPO

sys.path.insert(0, str(REPO))

from experiments.mnist import tables

MNIST = REPO / "experiments" / "mnist"


def made_up(seeds: int = 2) -> dict[str, Any]:
    scores = dict.fromkeys((*tables.SCORES, "elbo", "iwae_64", "reconstruction_psnr"), 0.5) | {"fd_mnist": 3.0}
    rows = [
        {"model": model, "seed": seed, "train_minutes": 5.0, "images_seen": 10, "sample_seconds": 1.0,
         "scores": scores, "raw_scores_2000": scores, "averaged_scores_2000": scores}
        for model in tables.NAMES for seed in range(seeds)
    ]  # fmt: skip
    reference = {
        "fd_mnist_floor": {"mean": 0.15, "sd": 0.01, "values": [0.15]},
        "training_images": scores | {"fd_mnist": 0.15},
        "spoilt": {"blurred": scores},
    }
    return {"rows": rows, "reference": reference}


def test_the_main_table_counts_in_floors() -> None:
    lines = tables.main_table(made_up()).splitlines()
    assert len(lines) == 2 + len(tables.NAMES) + 1
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert "| 20.0 ± 0.0 |" in lines[2]
    assert tables.main_table({**made_up(), "rows": []}).count("\n") == 3


def test_the_report_has_a_line_per_row() -> None:
    text = tables.report(made_up())
    assert text.count("| DCGAN | raw |") == 1
    assert "| blurred | 3.000 | 20.0 |" in text


@pytest.mark.skipif(not (MNIST / "results.json").is_file(), reason="no results yet")
def test_written_tables_are_those_of_the_results() -> None:
    results = json.loads((MNIST / "results.json").read_text())
    assert tables.report(results) == (MNIST / "results.md").read_text()
    assert tables.main_table(results) in (REPO / "README.md").read_text()
    for row in results["rows"]:
        assert {"model", "seed", "train_minutes", "images_seen", "scores"} <= row.keys()
        assert (MNIST / "grids" / f"{row['model']}-{row['seed']}.png").is_file()


def test_ablations_change_known_options() -> None:
    from condgen.cli.lightning import CLI  # noqa: F401 - the parser's module imports

    for path in (REPO / "experiments" / "ablations").glob("*.yaml"):
        study = yaml.safe_load(path.read_text())
        assert study["variants"]["base"] == []
        for options in study["variants"].values():
            assert all(isinstance(option, str) and option.startswith("--") for option in options)
