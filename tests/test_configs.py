"""Every YAML trains, scores, saves and samples."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPO, mnist_root

from condgen.cli import main
from condgen.cli.data_config import data_module
from condgen.cli.includes import with_includes

CONFIGS = REPO / "configs"
TWO_BATCHES = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--trainer.limit_val_batches", "1",
               "--evaluation.n_samples", "80", "--evaluation.subset_size", "60"]  # fmt: skip
OTHERS = ("classifier", "pix2pix")  # the second is tried in test_pix2pix.py, on pairs
GENERATIVE = sorted(p for p in CONFIGS.glob("model/*.yaml") if p.stem not in OTHERS)


def only_run(folder: Path) -> Path:
    (run,) = folder.glob("runs/*/*")
    return run


@pytest.mark.parametrize("path", GENERATIVE, ids=lambda p: p.stem)
def test_every_model_trains_scores_and_samples(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", str(path), "--trainer.accelerator", "cpu"]
    assert main(["fit", *args, *TWO_BATCHES]) == 0
    run = only_run(tmp_path)
    assert "val/fd_digits" in (run / "metrics.csv").read_text()
    assert main(["sample", "--ckpt", str(run), "--n", "2", "--out", "grid.png"]) == 0
    test = ["test", "-c", str(run / "config.yaml"), "--ckpt_path", str(run), "--runs", "tests"]
    assert main(test) == 0
    assert list(tmp_path.glob("tests/*/*/metrics.json"))


def test_the_classifier_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/classifier.yaml"]
    assert main(["fit", *args, *TWO_BATCHES, "--trainer.accelerator", "cpu"]) == 0
    assert (only_run(tmp_path) / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("data/*.yaml")), ids=lambda p: p.stem)
def test_every_data_set_is_built_without_its_files(path: Path) -> None:
    assert data_module(f"data/{path.name}", ["--data.batch_size", "3"]).batch_size == 3


def test_mnist_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = mnist_root()
    monkeypatch.chdir(tmp_path)
    args = ["-c", "trainer/default.yaml", "-c", "data/mnist.yaml", "-c", "model/dcgan.yaml", "--data.root", str(root)]
    assert main(["fit", *args, *TWO_BATCHES, "--data.download", "false"]) == 0
    assert "val/fd_mnist" in (only_run(tmp_path) / "metrics.csv").read_text()


def test_wandb_runs_offline_beside_the_csv_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    args = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml", "-c", "logger/wandb.yaml"]
    assert main(["fit", *args, *TWO_BATCHES, "--trainer.accelerator", "cpu"]) == 0
    import wandb

    wandb.finish()
    (run,) = tmp_path.glob("runs/cgan-digits/*")
    assert (run / "metrics.csv").is_file()
    assert list(tmp_path.glob("runs/wandb/offline-run-*/run-*.wandb"))
    assert list(tmp_path.glob("runs/wandb/offline-run-*/files/media/images/*.png"))


def test_every_experiment_composes_shipped_configs() -> None:
    for path in REPO.glob("experiments/*/*.yaml"):
        *included, own = with_includes(path)
        assert own == path
        assert all(CONFIGS in file.parents for file in included)
