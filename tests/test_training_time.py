"""The clock of training: evaluation left out, kept across resumes, and logged."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from conftest import same_weights, small_cgan
from lightning.pytorch.loggers import CSVLogger

from condgen.callbacks import TrainingTime
from condgen.data import Digits

MakeTrainer = Callable[..., L.Trainer]


class Work(L.Callback):
    """Takes a second per training batch and a hundred per validation batch, by a clock that stands still otherwise."""

    def __init__(self, clock: SimpleNamespace) -> None:
        self.clock = clock

    def on_train_batch_start(self, *args: Any) -> None:
        self.clock.now += 1.0

    def on_validation_batch_end(self, *args: Any) -> None:
        self.clock.now += 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=7.0)
    monkeypatch.setattr("condgen.callbacks.training_time.time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def logged(folder: Path, column: str) -> list[tuple[int, float]]:
    rows = csv.DictReader((folder / "metrics.csv").open())
    return [(int(row["step"]), float(row[column])) for row in rows if row.get(column)]


def test_validation_is_left_out_and_the_log_tells_time(
    clock: SimpleNamespace, make_trainer: MakeTrainer, digits: Digits, tmp_path: Path
) -> None:
    timing = TrainingTime()
    trainer = make_trainer(
        max_steps=10,
        log_every_n_steps=4,
        callbacks=[timing, Work(clock)],
        logger=CSVLogger(tmp_path, name="", version=""),
        limit_val_batches=1.0,
        val_check_interval=3,
        num_sanity_val_steps=1,
    )
    trainer.fit(small_cgan(digits), digits)
    assert clock.now > 300
    assert timing.training_seconds == 10.0
    assert timing.images_per_second == 64.0
    assert logged(tmp_path, "time/seconds") == [(64, 1.0), (256, 4.0), (512, 8.0), (640, 10.0)]
    assert {rate for _, rate in logged(tmp_path, "time/images_per_second")} == {64.0}


def test_time_goes_on_when_training_does(
    clock: SimpleNamespace, make_trainer: MakeTrainer, digits: Digits, tmp_path: Path
) -> None:
    def fit(last: int, log: Path, ckpt: Path | None) -> tuple[TrainingTime, L.LightningModule]:
        L.seed_everything(0, verbose=False)
        timing, model = TrainingTime(), small_cgan(digits)
        logger = CSVLogger(log, name="", version="")
        trainer = make_trainer(max_steps=last, log_every_n_steps=2, callbacks=[timing, Work(clock)], logger=logger)
        trainer.fit(model, Digits(), ckpt_path=ckpt, weights_only=True)
        trainer.save_checkpoint(log / "last.ckpt")
        return timing, model

    fit(5, tmp_path / "half", None)
    clock.now += 1e6
    rest, resumed = fit(8, tmp_path / "rest", tmp_path / "half" / "last.ckpt")
    whole, straight = fit(8, tmp_path / "whole", None)
    assert rest.training_seconds == whole.training_seconds == 8.0
    assert logged(tmp_path / "rest", "time/seconds") == [(384, 6.0), (512, 8.0)]
    assert same_weights(resumed, straight)

    scored = TrainingTime()
    trainer = make_trainer(callbacks=[scored])
    trainer.test(
        small_cgan(digits), digits, ckpt_path=tmp_path / "rest" / "last.ckpt", verbose=False, weights_only=True
    )
    assert scored.training_seconds == 8.0
    assert scored.images_per_second == 64.0


def test_a_beginning_that_was_not_timed_leaves_the_time_unknown(
    clock: SimpleNamespace, make_trainer: MakeTrainer, digits: Digits, tmp_path: Path
) -> None:
    first = make_trainer(max_steps=2)
    first.fit(small_cgan(digits), digits)
    first.save_checkpoint(tmp_path / "old.ckpt")
    timing = TrainingTime()
    logger = CSVLogger(tmp_path / "log", name="", version="")
    trainer = make_trainer(max_steps=4, callbacks=[timing, Work(clock)], logger=logger, log_every_n_steps=1)
    trainer.fit(small_cgan(digits), Digits(), ckpt_path=tmp_path / "old.ckpt", weights_only=True)
    assert timing.training_seconds is None
    assert timing.images_per_second == 64.0
    assert logged(tmp_path / "log", "time/seconds") == []
    assert len(logged(tmp_path / "log", "time/images_per_second")) == 2


def test_nothing_was_timed_before_training(make_trainer: MakeTrainer, digits: Digits) -> None:
    timing = TrainingTime()
    make_trainer(callbacks=[timing]).test(small_cgan(digits), digits, verbose=False)
    assert timing.training_seconds is None
    assert timing.images_per_second is None


def test_a_module_that_counts_no_images_is_left_alone(make_trainer: MakeTrainer, digits: Digits) -> None:
    class Other(L.LightningModule):
        def training_step(self, batch: Any, batch_idx: int) -> None:
            self.called = True

        def configure_optimizers(self) -> None:
            return None

    timing, model = TrainingTime(), Other()
    model.weight = torch.nn.Parameter(torch.zeros(1))
    make_trainer(max_epochs=1, limit_train_batches=1, callbacks=[timing]).fit(model, digits)
    assert model.called
    assert timing.training_seconds is None


def test_norms_of_gradients_are_those_of_the_players_that_took_a_step(
    make_trainer: MakeTrainer, digits: Digits, tmp_path: Path
) -> None:
    seen: list[tuple[int, str, float]] = []

    class Norms(L.Callback):
        def on_before_optimizer_step(
            self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
        ) -> None:
            group = optimizer.param_groups[0]["params"]
            player = "generator" if group[0] is next(iter(pl_module.generator.parameters())) else "discriminator"
            squares = [p.grad.double().square().sum() for p in group if p.grad is not None]
            seen.append((pl_module.images_seen + 64, player, float(torch.stack(squares).sum().sqrt())))

    model = small_cgan(digits, discriminator_steps=2)
    logger = CSVLogger(tmp_path, name="", version="")
    make_trainer(max_steps=4, log_every_n_steps=1, callbacks=[Norms(), TrainingTime()], logger=logger).fit(
        model, digits
    )
    for player in ("generator", "discriminator"):
        expected = [(images, norm) for images, name, norm in seen if name == player]
        found = logged(tmp_path, f"train/{player}_gradient_norm")
        assert [images for images, _ in found] == [images for images, _ in expected]
        assert [norm for _, norm in found] == pytest.approx([norm for _, norm in expected], rel=1e-5)
    assert len(logged(tmp_path, "train/generator_gradient_norm")) == 2
