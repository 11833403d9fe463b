"""Runs are tracked by Weights & Biases and other loggers, without an account, a key or a network."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from conftest import REPO
from wandb_files import read_offline_run

from condgen.cli import main
from condgen.cli.outcome import Outcome, outcomes, told_first
from condgen.cli.tracking import code_version, commit

FIT = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml", "--trainer.max_steps", "4",
       "--trainer.val_check_interval", "2", "--trainer.log_every_n_steps", "1", "--evaluation.n_samples", "40",
       "--evaluation.subset_size", "20", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false",
       "--grid.every_n_images", "128", "--grid.columns", "2"]  # fmt: skip
WANDB = ["-c", "logger/wandb.yaml"]


@pytest.fixture(autouse=True, scope="module")
def no_account() -> Iterator[None]:
    """Let W&B know neither key nor server of the user."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB")]:
            patch.delenv(name)
        patch.setenv("NETRC", os.devnull)
        yield
        wandb.teardown()


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A run of `fit` that kept its checkpoint as an artifact, and one of `test`."""
    home = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as said:
        patch.chdir(home)
        assert main(["fit", *FIT, *WANDB, "--trainer.logger.log_model", "true", "--trainer.logger.tags", "[mine]"]) == 0
        run = only(home, "runs/cgan-digits/*")
        asked = ["-c", str(run), "--ckpt_path", str(run), "--trainer.logger.log_model", "false"]
        assert main(["test", *asked]) == 0
    wandb.teardown()  # all is written then
    scored = only(home, "runs/cgan-digits/*-test")
    places = [only(folder, "wandb/offline-run-*") for folder in (run, scored)]
    return SimpleNamespace(
        home=home,
        said=said.getvalue(),
        run=run,
        scored=scored,
        fit=read_offline_run(places[0]),
        test=read_offline_run(places[1]),
    )


def rows_of(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").open()))


def test_config_tags_and_versions_are_in_the_run(tracked: SimpleNamespace) -> None:
    config = tracked.fit.config
    assert config["model"]["class_path"] == "condgen.models.CGAN"
    assert config["trainer"]["max_steps"] == 4
    assert config["seed_everything"] == 0
    assert config["code"] == code_version()
    assert list(tracked.fit.run.tags) == ["CGAN", "Digits", "label", "mine"]
    assert tracked.fit.run.project == "condgen"
    assert tracked.fit.run.run_group == "cgan-digits"
    assert tracked.fit.run.display_name == f"cgan-digits/{tracked.run.name}"


def test_curves_are_those_of_the_csv_file_against_images_seen(tracked: SimpleNamespace) -> None:
    assert tracked.fit.metrics["*"] == "images_seen"
    names = ["train/generator_loss", "train/discriminator_gradient_norm", "time/images_per_second", "val/fd_digits"]
    for name in names:
        curve = [(row["images_seen"], row[name]) for row in tracked.fit.history if name in row]
        expected = [(int(row["step"]), float(row[name])) for row in rows_of(tracked.run) if row[name]]
        assert curve == expected, name
        assert len(curve) >= 2, name


def test_grids_have_captions_and_are_the_pngs(tracked: SimpleNamespace) -> None:
    logged = [row for row in tracked.fit.history if "samples" in row]
    assert [row["images_seen"] for row in logged] == [128, 256, 256]
    for row in logged:
        entry = row["samples"]
        (caption,) = entry["captions"]
        assert caption == "rows: 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9; columns: seeds 0 to 1"
        picture = (tracked.fit.files / entry["filenames"][0]).read_bytes()
        assert picture == (tracked.run / "samples" / f"images-{row['images_seen']:09d}.png").read_bytes()


def test_the_summary_has_the_best_scores_and_a_table(tracked: SimpleNamespace) -> None:
    values = [float(row["val/fd_digits"]) for row in rows_of(tracked.run) if row["val/fd_digits"]]
    assert tracked.fit.summary["best/val/fd_digits"] == min(values)
    table = json.loads((tracked.fit.files / tracked.fit.summary["scores"]["path"]).read_text())
    (row,) = (row for row in table["data"] if row[0] == "val/fd_digits")
    assert dict(zip(table["columns"], row, strict=True))["last"] == values[-1]
    assert f"best         val/fd_digits {min(values):.4g} at " in tracked.said


def test_test_tracks_the_report(tracked: SimpleNamespace) -> None:
    scores = json.loads((tracked.scored / "metrics.json").read_text())["scores"]
    table = json.loads((tracked.test.files / tracked.test.summary["scores"]["path"]).read_text())
    assert {row[0]: row[1] for row in table["data"]} == {name: row["value"] for name, row in scores.items()}
    assert tracked.test.summary["test/label_accuracy"] == scores["label_accuracy"]["value"]


def test_the_checkpoint_is_an_artifact_where_that_is_wanted(tracked: SimpleNamespace) -> None:
    (artifact,) = (one for one in tracked.fit.artifacts if one.type == "model")
    size = (tracked.run / "checkpoints" / "last.ckpt").stat().st_size
    assert [entry.size for entry in artifact.manifest.contents] == [size]
    assert "model" not in [one.type for one in tracked.test.artifacts]


def test_wandb_reads_the_run_and_says_nothing(tracked: SimpleNamespace) -> None:
    assert "wandb:" not in tracked.said
    place = only(tracked.run, "wandb/offline-run-*")
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--dry-run", str(place)], capture_output=True, text=True, check=False
    )
    assert f"{place.name}/run-" in done.stdout + done.stderr


def test_a_resumed_run_goes_on_in_the_same_run_of_wandb(
    tracked: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "again"
    shutil.copytree(tracked.run, copied, symlinks=True)
    monkeypatch.chdir(tmp_path)
    assert (
        main(["fit", "--resume", str(copied), "--trainer.max_steps", "6", "--trainer.logger.log_model", "false"]) == 0
    )
    wandb.teardown()
    first, second = (read_offline_run(place) for place in sorted(copied.glob("wandb/offline-run-*")))
    assert first.run.run_id == second.run.run_id
    assert [row["images_seen"] for row in second.history if "train/generator_loss" in row] == [320, 384]


@pytest.mark.parametrize(
    ("env", "reason"),
    [({}, "No API key configured"), ({"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}, "giving up")],
    ids=["no key", "no network"],
)
def test_without_key_or_network_one_line_is_said_and_the_run_goes_on(
    env: dict[str, str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wandb.teardown()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("condgen.callbacks.wandb_log.LONGEST_START", 1.0)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert main(["fit", *FIT, *WANDB, "--trainer.logger.offline", "false"]) == 0
    told = capfd.readouterr()
    lines = [line for line in (told.out + told.err).splitlines() if "wandb" in line and "credentials" not in line]
    assert len(lines) == 1, lines
    assert reason in lines[0]
    wandb.teardown()  # all is written then
    assert "the run goes on, offline" in lines[0]
    assert read_offline_run(only(tmp_path, "runs/cgan-digits/*/wandb/offline-run-*")).summary["val/fd_digits"] > 0


@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_run_outlives_wandb(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    log = wandb.Run.log

    def failing(self: wandb.Run, values: dict[str, Any], *args: Any) -> None:
        if values["images_seen"] > 64:
            raise ConnectionResetError("Connection lost")
        log(self, values, *args)

    if when == "later":
        monkeypatch.setattr(wandb.Run, "log", failing)
    else:
        monkeypatch.setenv("WANDB_MODE", "nonsense")
    assert main(["fit", *FIT, *WANDB]) == 0
    told = capfd.readouterr()
    (line,) = (line for line in (told.out + told.err).splitlines() if "wandb" in line)
    assert line.endswith("; the run goes on without it")
    assert only(tmp_path, "runs/cgan-digits/*/checkpoints/last.ckpt").is_file()


def test_any_other_logger_is_told_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logger = ["--trainer.logger", "lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir", "others"]
    assert main(["fit", *FIT, *logger]) == 0
    other = only(tmp_path, "others/lightning_logs/version_0")
    run = only(tmp_path, "runs/cgan-digits/*")
    assert "commit" in (other / "hparams.yaml").read_text()
    expected = [row["val/fd_digits"] for row in rows_of(run) if row["val/fd_digits"]]
    assert [row["val/fd_digits"] for row in rows_of(other) if row["val/fd_digits"]] == expected


@pytest.mark.parametrize("name", ["TensorBoardLogger", "MLFlowLogger"])
def test_a_logger_whose_package_is_missing_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for package in ("tensorboard", "tensorboardX", "mlflow"):
        monkeypatch.setitem(sys.modules, package, None)
    logger = ["--trainer.logger", f"lightning.pytorch.loggers.{name}", "--trainer.logger.save_dir", "others"]
    logger += ["--trust", "lightning.pytorch.loggers"]
    assert main(["fit", *FIT, *logger]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert name.removesuffix("Logger").lower() in line.lower()
    assert not (tmp_path / "runs").exists()


def test_the_commit_is_that_of_condgen_alone(tmp_path: Path) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True, check=False).stdout
    assert code_version().get("commit", "") == head.strip()
    (tmp_path / "__init__.py").touch()
    assert commit(tmp_path) == {}
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert commit(tmp_path) == {}, "a package that another repository ignores has no commit"


def test_the_best_of_each_score_is_told() -> None:
    log = {
        "val/fd_x": [(10.0, 3.0), (20.0, 1.0), (30.0, 2.0)],
        "val/recall": [(10.0, 0.1), (20.0, 0.3)],
        "loss": [(1.0, 0.0)],
    }
    found = outcomes(log, {"val/recall": "higher", "val/fd_x": "lower", "val/never": "lower"})
    assert found == [Outcome("val/recall", 0.3, 0.3, 20, "higher"), Outcome("val/fd_x", 2.0, 1.0, 20, "lower")]
    assert told_first(found, None) == found[1]
    assert told_first(found, "val/recall") == found[0]
    assert told_first([], "val/recall") is None
