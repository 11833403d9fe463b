"""What is shown while a run trains: a bar on a terminal, few plain lines in a pipe."""

from __future__ import annotations

import re
from io import StringIO
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from rich.console import Console

from condgen.callbacks import RunProgress


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("condgen.callbacks.progress.time", clock)
    return clock


def train(progress: RunProgress, clock: Clock, batches: int, seconds: float) -> None:
    """Let batches of 64 images take some seconds each."""
    trainer: Any = SimpleNamespace(max_steps=batches, max_epochs=None, global_step=0, callback_metrics={})
    model: Any = SimpleNamespace(images_seen=0, losses={})
    progress.on_train_start(trainer, model)
    for batch in range(1, batches + 1):
        clock.now += seconds
        trainer.global_step, model.images_seen = batch, 64 * batch
        model.losses = {"train/loss": torch.tensor(1.0 / batch)}
        if batch == batches // 2:
            trainer.callback_metrics = {
                name: torch.tensor(0.5) for name in ("val/fd_x", "val/recall", "val/third", "train/a")
            }
        progress.on_train_batch_end(trainer, model)
    progress.on_train_end(trainer, model)


def test_lines_in_a_pipe_are_plain_and_tell_rate_time_left_scores_and_losses(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    train(RunProgress(), clock, 20, 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "batch 5/20  0:00:15 left  64 images/s  loss 0.200"
    assert lines[-2] == "batch 20/20  64 images/s  fd_x 0.500  recall 0.500  loss 0.050"
    assert not any(mark in "".join(lines) for mark in "\r\x1b")


def test_lines_become_fewer_the_longer_a_run_is(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    train(RunProgress(), clock, 7200, 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert 110 < len(lines) < 200  # two hours: one a minute at last
    batches = [int(line.split()[1].partition("/")[0]) for line in lines]
    assert batches[1] - batches[0] == 5
    assert batches[-2] - batches[-3] == 60


def test_a_terminal_has_a_bar_that_is_drawn_no_more_than_five_times_a_second(clock: Clock) -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=200)
    train(RunProgress(console=console), clock, 1000, 0.01)
    drawn = out.getvalue().count("images/s")
    assert 40 <= drawn <= 60  # ten seconds
    for part in ("1000/1000", "6,400 images/s", "fd_x 0.500", "loss 0.001"):
        assert part in out.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_bar_of_many_losses_is_whole_in_a_narrow_terminal(width: int, clock: Clock) -> None:
    console = Console(file=StringIO(), force_terminal=True, width=width, height=20, color_system=None)
    progress = RunProgress(console=console)
    trainer: Any = SimpleNamespace(max_steps=3000, max_epochs=None, global_step=0, callback_metrics={})
    losses = ("discriminator_loss", "classifier_loss_real", "classifier_loss_fake", "generator_loss", "penalty")
    model: Any = SimpleNamespace(images_seen=0, losses={f"train/{name}": torch.tensor(0.5) for name in losses})
    trainer.callback_metrics = {"val/label_accuracy": torch.tensor(0.96), "val/fd_digits": torch.tensor(2.5)}
    progress.on_train_start(trainer, model)
    clock.now, trainer.global_step, model.images_seen = clock.now + 10, 1200, 1200 * 64
    progress.on_train_batch_end(trainer, model)
    assert progress.bar is not None
    shown = StringIO()
    Console(file=shown, width=width, color_system=None).print(progress.bar.get_renderable())
    first, *others = shown.getvalue().splitlines()
    assert re.fullmatch(r"training ━{10,}.* 1200/3000 \S+ 7,680 images/s *", first)
    assert all(f"{name} 0.500" in " ".join(" ".join(others).split()) for name in losses)
    assert "label_accuracy 0.960" in others[0]
    progress.on_train_end(trainer, model)


def test_processes_but_the_first_show_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = RunProgress()
    progress.disable()
    train(progress, clock, 20, 1.0)
    assert capsys.readouterr().out == ""


def test_it_is_lightnings_progress_bar() -> None:
    assert isinstance(RunProgress(), L.pytorch.callbacks.ProgressBar)


@pytest.mark.parametrize(("size", "total"), [(1, 30), (4, 9)])
def test_the_total_counts_steps(size: int, total: int, clock: Clock) -> None:
    progress = RunProgress(console=Console(file=StringIO()))
    trainer: Any = SimpleNamespace(
        max_steps=-1, max_epochs=3, num_training_batches=10, accumulate_grad_batches=size, global_step=0
    )
    progress.on_train_start(trainer, SimpleNamespace(images_seen=0))  # type: ignore[arg-type]
    assert progress.total == total
