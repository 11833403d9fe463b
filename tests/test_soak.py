"""`make soak` records each trial, goes on where it stopped, and tells of failures; a trial of each kind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from resume_runs import SMALL  # noqa: F401 - it makes experiments importable

from condgen.callbacks.kept import Kept
from experiments.soak import (
    harness,
    kills,
    memory,
    mutated_checkpoints,
    mutated_configs,
    payloads,
    ranks,
    run,
    same_samples,
    saves,
    signals,
)


def records(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()]


def test_trials_are_added_up_over_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(saves, "CASES", 2)
    results = tmp_path / "results.jsonl"
    for _ in range(2):
        assert run.main(["saves", "--trials", "2", "--results", str(results)]) == 0
    assert [(record["seed"], record["failed"]) for record in records(results)] == [(i, None) for i in range(4)]
    with results.open("a") as torn:
        torn.write('{"experiment": "saves", "se')
    capsys.readouterr()
    assert run.main(["saves", "--trials", "1", "--results", str(results)]) == 0
    assert "| saves | 0–4 | 0 | 10 old checkpoints found, 10 kills |" in capsys.readouterr().out
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
    assert "| saves | 0–2 | 1 | 2 tried |" in told.out
    monkeypatch.setattr(saves, "trial", lambda seed, *_: {"tried": 1 + seed})
    assert run.main(["saves", "--trials", "2", "--results", str(results)]) == 0
    assert [record["seed"] for record in records(results)] == [0, 1, 2, 1, 3]
    assert "| saves | 0–3 | 0 | 8 tried |" in capsys.readouterr().out


def test_seeds_are_written_as_spans() -> None:
    assert run.spans([4, 0, 1, 2, 7]) == "0–2, 4, 7"
    assert run.spans([]) == ""


def test_every_experiment_is_found_and_told_of() -> None:
    readme = (run.HERE / "README.md").read_text()
    tried: dict[str, tuple[Any, int]] = {
        "memory": (memory, memory.BATCHES),
        "kills": (kills, 1),
        "saves": (saves, saves.CASES),
        "signals": (signals, 1),
        "payloads": (payloads, payloads.CASES),
    }
    tried["mutated_configs"] = mutated_configs, mutated_configs.CASES
    tried["mutated_checkpoints"] = mutated_checkpoints, mutated_checkpoints.CASES
    tried |= {"ranks": (ranks, 1), "same_samples": (same_samples, max(same_samples.SIZES))}
    assert sorted(tried) == run.NAMES
    for name, (module, cases) in tried.items():
        assert f"| `{name}` |" in readme
        assert module.TRIALS * cases >= 100


@pytest.mark.slow
def test_a_signal_from_outside(tmp_path: Path) -> None:
    assert signals.trial(1, signals.prepare(tmp_path / "prepared"), tmp_path / "trial") == {"in a validation": 1}


@pytest.mark.slow
def test_kills_of_a_process_of_its_own_and_of_forked_ones(tmp_path: Path) -> None:
    prepared, kinds = kills.prepare(tmp_path / "prepared"), ("kills", "of these of whole processes")
    found = [kills.trial(seed, prepared, tmp_path / str(seed)) for seed in (0, 1, 2)]
    assert sum(trial[kinds[0]] for trial in found) >= 2
    assert sum(trial[kinds[1]] for trial in found[1:]) == 0


# ---------------------------------------------------------------------- hostile and damaged input


def test_mutated_configs_are_refused_in_a_line_or_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutated_configs, "CASES", 20)
    found = mutated_configs.trial(0, mutated_configs.prepare(tmp_path / "prepared"), tmp_path)
    assert found["refused"] == sum(found["kinds"].values()) == 20
    assert len(found["kinds"]) >= 5


def test_mutated_checkpoints_are_refused_or_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutated_checkpoints, "CASES", 80)
    prepared = mutated_checkpoints.prepare(tmp_path / "prepared")
    found = mutated_checkpoints.trial(0, prepared, tmp_path)
    assert found["refused"] > 50
    assert found.get("trained on", 0) + found.get("not trained on", 0) == 2
    monkeypatch.setattr("condgen.checkpoints.load.check_seal", lambda path: None)
    with pytest.raises(AssertionError, match="altered bytes were loaded"):
        mutated_checkpoints.trial(0, prepared, tmp_path / "again")


def test_a_resumed_run_that_removes_a_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = mutated_checkpoints.prepare(tmp_path / "prepared")
    hostile = Mock(randrange=lambda stop: 0, choice=lambda items: items[1])  # a score of the VAE, for a file outside
    with harness.inside(prepared, tmp_path / "found"):
        assert mutated_checkpoints.resumed(hostile) == "not trained on"
    monkeypatch.setattr(Kept, "restore", lambda self, scores: setattr(self, "scores", dict(scores)))
    with harness.inside(prepared, tmp_path / "again"):
        assert "it touched [('vae.ckpt', " in mutated_checkpoints.resumed(hostile)


def test_payloads_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "CASES", 50)
    found = payloads.trial(0, payloads.prepare(tmp_path / "prepared"), tmp_path)
    assert found["controls seen"] == 5
    assert found["refused"] > 30
    assert len(found["places"]) >= 6


def test_the_harness_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(argv: list[str]) -> int:
        raise RuntimeError("boom")

    def chatter(argv: list[str]) -> int:
        print("a\nb\nc\nd", file=sys.stderr)
        return 2

    def silence(argv: list[str]) -> int:
        return 2

    def hang(argv: list[str]) -> int:
        while True:
            pass

    monkeypatch.setattr(harness, "LIMIT", 1)
    for verb, word in ((crash, "traceback"), (chatter, "4 lines"), (silence, "0 lines"), (hang, "hang")):
        monkeypatch.setattr(harness, "main", verb)
        assert harness.call(["x"]).problem.startswith(word)
    monkeypatch.setattr(harness, "main", lambda argv: 0)
    assert harness.call(["x"]) == harness.Outcome(0, "")
