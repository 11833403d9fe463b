"""What a step costs beside its work: nothing that can be left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import same_weights, small_cgan
from rich.console import Console

from condgen.callbacks import CompileNets, ExportRecogniser, RunProgress, WritePredictions
from condgen.cli import main
from condgen.cli.profiler import NoProfiler
from condgen.cli.verbs import build
from condgen.data import Digits

CONFIG = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "--trainer.accelerator", "cpu"]
NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"


def test_steps_do_not_search_for_a_driver_that_is_not_there(
    digits: Digits, make_trainer: Callable[..., L.Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NVML, "1")  # as Lightning leaves it
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    small_cgan(digits).setup("fit")
    assert os.environ[NVML] == "1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    make_trainer(max_steps=1).fit(small_cgan(digits), digits)
    assert os.environ[NVML] == "0"


def test_a_run_has_no_callback_and_no_profiler_without_a_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trainer: Any = build("fit", [*CONFIG, "-c", "model/cgan.yaml"], ()).trainer
    useless = (WritePredictions, ExportRecogniser, CompileNets)
    assert not [callback for callback in trainer.callbacks if isinstance(callback, useless)]
    assert isinstance(trainer.profiler, NoProfiler)
    with trainer.profiler.profile("a"), trainer.profiler.profile("b"):
        pass
    asked = build("fit", [*CONFIG, "-c", "model/classifier.yaml", "--trainer.profiler", "simple"], ()).trainer
    assert any(isinstance(callback, ExportRecogniser) for callback in asked.callbacks)
    assert type(asked.profiler).__name__ == "SimpleProfiler"


def test_batches_that_are_where_they_should_be_are_not_looked_through(digits: Digits) -> None:
    batch = next(iter(digits.train_dataloader()))
    assert digits.transfer_batch_to_device(batch, torch.device("cpu"), 0) is batch
    moved = digits.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert {moved["pixels"].device.type, moved["cond"]["label"].device.type} == {"meta"}


def test_the_bar_is_drawn_no_more_often_than_it_is_due(digits: Digits, make_trainer: Callable[..., L.Trainer]) -> None:
    drawn = {}
    for interval in (0.0, 1e9):
        console = Console(file=StringIO(), force_terminal=True, width=100)
        bar = RunProgress(bar_interval=interval, console=console)
        make_trainer(max_steps=30, enable_progress_bar=True, callbacks=[bar]).fit(small_cgan(digits), digits)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert "30/30" in text
        assert "generator_loss" in text
        drawn[interval] = text.count("training")
    assert drawn[0.0] >= 30
    assert drawn[1e9] <= 4


def test_compiled_nets_train_alike_and_keep_their_names(digits: Digits, make_trainer: Callable[..., L.Trainer]) -> None:
    models = []
    for nets in ([], ["generator.net", "discriminator.net"]):
        L.seed_everything(3, verbose=False)
        models.append(small_cgan(digits))
        compiler = CompileNets(nets, backend="eager")
        make_trainer(max_steps=3, callbacks=[compiler] if nets else []).fit(models[-1], digits)
    plain, compiled = models
    assert same_weights(plain, compiled)
    assert compiled.generator.net._compiled_call_impl is not None
    assert plain.generator.net._compiled_call_impl is None


def test_nets_to_compile_are_named_by_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["fit", *CONFIG, "-c", "model/cgan.yaml", "--trainer.max_steps", "1", "--trainer.limit_val_batches", "0"]
    assert main([*args, "--compile.nets", "[generater.net]"]) == 2
    assert "compile.nets: CGAN has no 'generater.net', but discriminator" in capsys.readouterr().err
    assert main([*args, "--compile.nets", "[generator.net]", "--compile.backend", "eager"]) == 0
    (saved,) = tmp_path.glob("runs/*/*/config.yaml")
    assert "- generator.net" in saved.read_text()
