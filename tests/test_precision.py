"""Training is in bfloat16 where the device says that it is fast, and a run keeps what it began with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import Namespace

from condgen.capabilities import fast_bfloat16
from condgen.cli import main
from condgen.cli.precision import choose_precision, device_of

CONFIG = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml"]
SHORT = ["--trainer.accelerator", "cpu", "--trainer.limit_val_batches", "0", "--name", "short"]


def test_devices_are_asked_what_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    for amx, avx, said in ((True, True, "amx_bf16"), (False, True, "avx512_bf16"), (False, False, None)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        assert fast_bfloat16("cpu") == said
    for capability, said in (((7, 5), None), ((8, 0), "compute capability 8.0")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert fast_bfloat16("cuda") == said
    assert fast_bfloat16("mps") is None


def test_a_precision_is_chosen_only_where_it_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("condgen.cli.precision.fast_bfloat16", {"cpu": "avx512_bf16", "cuda": None}.get)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def chosen(accelerator: str, precision: str | None = None, plugins: object = None) -> tuple[str | None, str | None]:
        trainer = Namespace(accelerator=accelerator, precision=precision, plugins=plugins)
        return choose_precision(trainer, None), trainer.precision

    assert chosen("cpu") == ("avx512_bf16", "bf16-mixed")
    assert chosen("auto") == ("avx512_bf16", "bf16-mixed")
    assert chosen("tpu") == ("no fast bfloat16 here", "32-true")
    assert chosen("cpu", "32-true") == (None, "32-true")
    assert chosen("cpu", plugins=["MixedPrecision"]) == (None, None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto") == device_of("gpu") == "cuda"
    assert chosen("auto") == ("no fast bfloat16 here", "32-true")


@pytest.mark.parametrize(("reason", "precision"), [("avx512_bf16", "bf16-mixed"), (None, "32-true")])
def test_a_run_says_and_keeps_what_was_chosen(
    reason: str | None,
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("condgen.cli.precision.fast_bfloat16", lambda device: reason)
    assert main(["fit", *CONFIG, *SHORT, "--trainer.max_steps", "2"]) == 0
    assert f"precision {precision} ({reason or 'no fast bfloat16 here'})" in capsys.readouterr().out
    (run,) = tmp_path.glob("runs/short/*")
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["precision"] == precision
    monkeypatch.setattr("condgen.cli.precision.fast_bfloat16", lambda device: None if reason else "avx512_bf16")
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "4"]) == 0
    assert f"precision {precision}, " in capsys.readouterr().out


def test_a_run_from_before_there_was_a_choice_goes_on_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("condgen.cli.precision.fast_bfloat16", lambda device: "avx512_bf16")
    assert main(["fit", *CONFIG, *SHORT, "--trainer.max_steps", "2", "--trainer.precision", "32-true"]) == 0
    (run,) = tmp_path.glob("runs/short/*")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("precision: 32-true", "precision: null"))
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "4"]) == 0
    assert "precision 32-true, " in capsys.readouterr().out
