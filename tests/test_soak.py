"""The first cases of each soak of experiments/soak: what must never happen does not."""

from __future__ import annotations

import sys

import pytest
from conftest import REPO

sys.path.insert(0, str(REPO))

from experiments.soak import harness, mutated_checkpoints, mutated_configs, payloads


def test_mutated_configs_are_refused_in_a_line_or_three() -> None:
    found = mutated_configs.run(20, seed=0)
    assert found["problems"] == []
    assert found["refused"] == 20
    assert len(found["kinds"]) >= 5


def test_mutated_checkpoints_are_refused_or_as_they_were() -> None:
    found = mutated_checkpoints.run(80, seed=0)
    assert found["problems"] == []
    assert found["refused"] > 50


def test_payloads_do_not_run() -> None:
    found = payloads.run(50, seed=0)
    assert found["problems"] == []
    assert found["control"] == 5
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
