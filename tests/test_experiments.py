"""The tables of the experiments say what their results hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPO, mnist_root
from test_cifar10 import SIZES, pictures, write_zip

from condgen.cli import main

sys.path.insert(0, str(REPO))

from experiments.cifar10 import run as cifar10
from experiments.mnist import tables
from experiments.mnist.reference import CLEARLY_WORSE

MNIST = REPO / "experiments" / "mnist"


def made_up(seeds: int = 2) -> dict[str, Any]:
    scores = dict.fromkeys((*tables.SCORES, "elbo", "iwae_64", "reconstruction_psnr"), 0.5) | {"fd_mnist": 3.0}
    few = scores | {"fd_mnist_floor": 0.3}
    machine = {"processor": "Some CPU", "cores": 2, "cpu_capability": "AVX2", "threads": 2, "torch": "2"}
    rows = [
        {"model": model, "seed": seed, "train_minutes": 5.0, "images_seen": 10, "sample_seconds": 1.0, "cores": 1,
         "scores": scores, "raw_scores_2000": few, "averaged_scores_2000": few, "machine": machine}
        for model in tables.NAMES for seed in range(seeds)
    ]  # fmt: skip
    rows[-1]["guidance_2000"] = [few | {"guidance": 1.0}]
    reference = {
        "n": 10_000,
        "fd_mnist_floor": {"mean": 0.15, "sd": 0.01, "values": [0.15]},
        "fd_mnist_floor_2000": {"mean": 0.3, "sd": 0.02, "values": [0.3, 0.3]},
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
    assert "for 10,000 images: 0.1500, sd 0.0100 over 1 draws; for 2,000 images: 0.3000" in text
    assert "| DCGAN | raw | 0.500 ± 0.000 | 3.000 ± 0.000 | 10.000 ± 0.000 |" in text
    assert "| 1 | 0.500 | 3.000 | 10.000 |" in text
    assert "Measured on Some CPU (AVX2), of whose 2 cores each row had as many as the table says, torch 2." in text


@pytest.mark.skipif(not (MNIST / "results.json").is_file(), reason="no results yet")
def test_written_tables_are_those_of_the_results() -> None:
    results = json.loads((MNIST / "results.json").read_text())
    assert tables.report(results) == (MNIST / "results.md").read_text()
    assert tables.main_table(results) in (REPO / "README.md").read_text()
    reference = results["reference"]
    floor = reference["fd_mnist_floor"]["mean"]
    assert all(row["fd_mnist"] > CLEARLY_WORSE * floor for row in reference["spoilt"].values())
    for row in results["rows"]:
        assert {"model", "seed", "train_minutes", "images_seen", "scores"} <= row.keys()
        assert (MNIST / "grids" / f"{row['model']}-{row['seed']}.png").is_file()


def test_the_cifar10_table_leaves_untrained_rows_empty() -> None:
    scores = {name: {"value": 0.5} for name in ("label_accuracy", "fd_cifar10", "precision", "recall", "coverage")}
    row = {"model": "vae", "train_minutes": 10.0, "images_per_second": 5000, "scores": scores}
    lines = cifar10.table([row]).splitlines()
    assert lines[4] == "| VAE | 10.0 | 5,000 | 0.500 | 0.500 | 0.500 | 0.500 | 0.500 |"
    assert lines[5] == "| DDPM | " + " | ".join([""] * 7) + " |"
    path = REPO / "experiments" / "cifar10"
    found = path / "results.json"
    rows = json.loads(found.read_text())["rows"] if found.is_file() else []
    assert cifar10.table(rows) in (path / "README.md").read_text()


STUDIES = [
    (path.stem, name)
    for path in sorted((REPO / "experiments" / "ablations").glob("*.yaml"))
    for name in yaml.safe_load(path.read_text())["variants"]
]


@pytest.mark.parametrize(("study", "name"), STUDIES)
def test_ablations_change_known_options(study: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = content_of(study)["variants"][name]
    assert bool(options) is (name != "base")
    with pytest.raises(SystemExit) as done:
        main(["fit", *words_of(study), *options, "--print_config"])
    assert done.value.code == 0
    printed = PRINTED.setdefault(study, {})
    printed[name] = capsys.readouterr().out
    assert len(set(printed.values())) == len(printed), "two variants are the same"


def content_of(study: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((REPO / "experiments" / "ablations" / f"{study}.yaml").read_text())
    return content


def words_of(study: str) -> list[str]:
    """Return the arguments of `fit` that all variants share, wherever the test runs."""
    content = content_of(study)
    configs = [str(REPO / name) if (REPO / name).is_file() else name for name in content["configs"]]
    return [word for config in configs for word in ("-c", config)] + content.get("options", [])


PRINTED: dict[str, dict[str, str]] = {}
"""The whole config of each variant that was parsed, by study."""


MANIFESTS = [
    path for folder in ("digits", "mnist", "cifar10") for path in (REPO / "experiments" / folder).glob("*.yaml")
]


@pytest.mark.parametrize("path", sorted(MANIFESTS), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_manifest_trains_scores_and_samples(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args, small = ["-c", str(path)], ["--evaluation.n_samples", "40", "--evaluation.subset_size", "40"]
    if path.parent.name == "mnist":
        args += ["--data.root", str(mnist_root()), "--data.download", "false"]
    if path.parent.name == "cifar10":
        monkeypatch.setattr("condgen.data.CIFAR10JPEG.sizes", SIZES)
        args += ["-c", "data/cifar10_jpeg.yaml", "--data.root", write_zip(tmp_path / "pictures.zip", pictures())]
    tiny = ["--trainer.max_steps", "2", "--trainer.limit_val_batches", "0", "--data.batch_size", "2",
            "--model.sample_chunk", "4", "--trainer.accelerator", "cpu", "--likelihood.n_images", "4",
            "--likelihood.samples", "2", "--grid.columns", "1"]  # fmt: skip
    few_steps = ["--model.sampler.steps", "2"] if path.stem == "ddpm" else []
    assert main(["fit", *args, *tiny, *few_steps, *small]) == 0
    (run,) = tmp_path.glob("runs/*/*")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["trainer"]["precision"] == ("bf16-mixed" if path.parent.name == "cifar10" else "32-true")
    assert len(list(run.glob("samples/*.png"))) > 0
    assert main(["test", "-c", str(run), "--ckpt_path", str(run), "--runs", "tests"]) == 0
    assert list(tmp_path.glob("tests/*/*"))
    assert main(["sample", "--ckpt", str(run), "--n", "1", "--label", "3", "--out", "grid.png"]) == 0
