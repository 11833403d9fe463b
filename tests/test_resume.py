"""A run that was stopped, in any way and at any moment, goes on as if it had not been."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluate_inputs import Fails
from resume_runs import CGAN, FAMILIES, check_same, fit, in_child, resume, rows, trained

from condgen.callbacks import EvaluateSamples, SampleGrid
from condgen.checkpoints import AtomicCheckpointIO, read_checkpoint
from condgen.cli import lightning as cli  # noqa: F401 - so that children need not import it
from condgen.models.recorded import RecordedModule


@pytest.fixture
def after_batch(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Let this process get a signal within a batch, after its work."""

    def arrange(batch: int, signum: int) -> None:
        count, step = {"left": batch}, RecordedModule.training_step

        def training_step(self: RecordedModule, *args: Any) -> Any:
            loss = step(self, *args)
            count["left"] -= 1
            if count["left"] == 0:
                os.kill(os.getpid(), signum)
            return loss

        monkeypatch.setattr(RecordedModule, "training_step", training_step)

    return arrange


@pytest.mark.parametrize("family", FAMILIES)
def test_a_killed_run_of_any_family_goes_on(
    family: str, after_batch: Callable[[int, int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = [*FAMILIES[family], "--trainer.max_steps", "13", "--data.augment", "RandomFlip"]
    whole = fit(tmp_path / "whole", *args)

    def killed() -> int:
        after_batch(11, signal.SIGKILL)
        fit(tmp_path / "run", *args)
        return 0

    assert in_child(killed) == -signal.SIGKILL
    (run,) = tmp_path.glob("run/*/*")
    assert read_checkpoint(run)["condgen"]["progress"]["batches_seen"] == 8
    resume(run)
    check_same(run, whole)
