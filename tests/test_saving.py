"""What a run keeps: the best or latest checkpoints, and a log that no kill can tear."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from evaluate_inputs import Fails
from resume_runs import FAMILIES, SMALL, check_same, fit, in_child, resume, rows

from condgen.callbacks import RunLog
from condgen.callbacks.kept import Kept
from condgen.checkpoints import AtomicCheckpointIO, read_checkpoint
from condgen.models import Classifier

BEST = ["--checkpoint.monitor", "val/accuracy", "--checkpoint.mode", "max", "--checkpoint.keep", "2"]


def test_the_best_are_ranked_by_the_score_of_their_own_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validations are at batches 3, 6, 9 and 12, and the run is killed before the third is done."""
    args = [*FAMILIES["classifier"], *BEST, "--trainer.max_steps", "13"]
    whole = fit(tmp_path / "whole", *args)
    scores = {int(row["step"]): float(row["val/accuracy"]) for row in rows(whole) if "val/accuracy" in row}
    assert list(scores) == [576, 1152, 1728, 2304]
    best = sorted(scores, key=lambda step: (-scores[step], step))[:2]
    names = {f"images={step:09d}.ckpt" for step in best} | {"last.ckpt"}
    assert {path.name for path in (whole / "checkpoints").iterdir()} == names

    def killed() -> int:
        left = iter([True, True])
        send, end = signal.raise_signal, Classifier.on_validation_end

        def on_validation_end(self: Any) -> None:
            end(self)
            if next(left, None) is None:
                send(signal.SIGKILL)

        monkeypatch.setattr(Classifier, "on_validation_end", on_validation_end)
        fit(tmp_path / "run", *args)
        return 0

    assert in_child(killed) == -signal.SIGKILL
    (run,) = tmp_path.glob("run/*/*")
    resume(run)
    check_same(run, whole)


def test_a_score_between_accumulation_windows_is_needed(tmp_path: Path, fails: Fails) -> None:
    args = [*SMALL, *FAMILIES["classifier"], *BEST, "--trainer.accumulate_grad_batches", "2", "--runs", str(tmp_path)]
    assert "let trainer.val_check_interval be a multiple of" in fails(*args, "--trainer.max_steps", "5", code=1)


def test_a_missing_score_is_named(tmp_path: Path, fails: Fails) -> None:
    args = [*SMALL, *FAMILIES["classifier"], "--runs", str(tmp_path), "--trainer.max_steps", "5"]
    line = fails(*args, "--checkpoint.monitor", "val/acuracy", code=1)
    assert "checkpoint.monitor: no score 'val/acuracy'; there are val/accuracy" in line


def test_no_checkpoint_has_other_files_removed(tmp_path: Path, fails: Fails) -> None:
    args = [*FAMILIES["classifier"], *BEST, "--trainer.max_steps", "3"]
    run = fit(tmp_path / "runs", *args)
    content, other = read_checkpoint(run), tmp_path / "other.txt"
    other.write_text("kept")
    content["callbacks"]["Checkpoint"]["scores"] = {str(other): -1e9}
    AtomicCheckpointIO().save_checkpoint(content, run / "checkpoints" / "last.ckpt")
    more = ["--trainer.max_steps", "9", "--checkpoint.keep", "1"]
    line = fails("fit", "--resume", str(run), *more, code=1)
    assert f"the checkpoint is damaged: it ranks {str(other)!r}" in line
    assert other.read_text() == "kept"


@pytest.mark.parametrize("score", [True, "1", None, [1.0]])
def test_scores_are_numbers(score: Any) -> None:
    with pytest.raises(ValueError, match=r"it ranks 'images=000000064\.ckpt' by"):
        Kept(2, "score", "min").restore({"images=000000064.ckpt": score})


@pytest.mark.parametrize("name", ["/etc/images=000000064.ckpt", "../images=000000064.ckpt", "last.ckpt", "", 5])
def test_only_names_of_a_run_s_own_checkpoints_are_ranked(name: Any) -> None:
    kept = Kept(2, "score", "min")
    with pytest.raises(ValueError, match="is damaged: it ranks"):
        kept.restore({name: 1.0})
    assert not kept.scores


@pytest.mark.parametrize(
    ("mode", "scores", "admitted", "left"),
    [
        ("min", [3.0, 2.0, 4.0, 1.0, 2.0], [True, True, False, True, False], {"1", "3"}),
        ("max", [3.0, 2.0, 4.0, 1.0, 4.0], [True, True, True, False, True], {"2", "4"}),
    ],
)
def test_ranking(mode: Any, scores: list[float], admitted: list[bool], left: set[str]) -> None:
    kept = Kept(2, "score", mode)
    for place, score in enumerate(scores):
        assert kept.admits(score) is admitted[place]
        if kept.admits(score):
            kept.scores[str(place)] = score
            for name in kept.excess():
                del kept.scores[name]
    assert set(kept.scores) == left
    assert Kept(-1, "score", mode, scores={"a": 1.0}).excess() == []


def test_the_log_is_written_at_once_and_taken_up_where_it_stood(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.log_metrics({"loss": 0.5}, step=64)
    log.log_metrics({"loss": 0.25}, step=128)
    log.log_metrics({"accuracy": 1.0}, step=128)
    file = tmp_path / "metrics.csv"
    assert file.read_text() == "accuracy,loss,step\n,0.5,64\n,0.25,128\n1.0,,128\n"
    with file.open("a") as torn:
        torn.write("0.1,0.")
    again = RunLog(tmp_path)
    assert again.experiment.count == 3
    again.experiment.keep(5)
    again.experiment.keep(2)
    assert file.read_text() == "loss,step\n0.5,64\n0.25,128\n"
    again.log_metrics({"loss": 0.125}, step=192)
    assert file.read_text() == "loss,step\n0.5,64\n0.25,128\n0.125,192\n"
    assert again.experiment.count == 3
    assert not list(tmp_path.glob(".*"))
