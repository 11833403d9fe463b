"""`make soak` records each trial, goes on where it stopped, and tells of failures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from resume_runs import SMALL  # noqa: F401 - it makes experiments importable

from experiments.soak import kills, run, saves, signals


def records(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()]


def test_trials_are_added_up_over_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.jsonl"
    for _ in range(2):
        assert run.main(["saves", "--trials", "2", "--results", str(results)]) == 0
    assert [(record["seed"], record["failed"]) for record in records(results)] == [(i, None) for i in range(4)]
    with results.open("a") as torn:
        torn.write('{"experiment": "saves", "se')
    capsys.readouterr()
    assert run.main(["saves", "--trials", "1", "--results", str(results)]) == 0
    assert "| saves | 5 | 0 | 5 kills, 5 old checkpoints found |" in capsys.readouterr().out
    assert [record["seed"] for record in records(results)] == list(range(5))


def test_a_failure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def trial(seed: int, *_: Any) -> dict[str, Any]:
        assert seed != 1, "wrong"
        return {"tried": 1}

    monkeypatch.setattr(saves, "prepare", lambda folder: None)
    monkeypatch.setattr(saves, "trial", trial)
    results = tmp_path / "results.jsonl"
    assert run.main(["saves", "--trials", "3", "--results", str(results)]) == 1
    assert ["wrong" in (record["failed"] or "") for record in records(results)] == [False, True, False]
    told = capsys.readouterr()
    assert "seed 1 failed" in told.err
    assert "| saves | 3 | 1 | 2 tried |" in told.out


def test_every_experiment_is_found_and_told_of() -> None:
    assert run.NAMES == ["kills", "saves", "signals"]
    readme = (run.HERE / "README.md").read_text()
    for name, module in (("kills", kills), ("saves", saves), ("signals", signals)):
        assert f"| `{name}` |" in readme
        assert module.TRIALS >= 200


def test_a_trial_of_each_kind_of_run(tmp_path: Path) -> None:
    """One seed of the signals, whose helpers are used nowhere else."""
    assert signals.trial(1, signals.prepare(tmp_path / "prepared"), tmp_path / "trial") == {"in a validation": 1}
