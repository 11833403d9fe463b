"""Keys that stand in the environment are found in nothing that a run writes or prints; in configs they are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from evaluate_inputs import Fails

from condgen.cli import main
from condgen.cli.errors import UserError
from condgen.cli.secrets import refuse_secrets

FIT = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml", "-c", "logger/wandb.yaml"]
SHORT = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--evaluation.n_samples", "40",
         "--evaluation.subset_size", "20", "--trainer.accelerator", "cpu"]  # fmt: skip
SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef0wandbkey",
    "HF_TOKEN": "hf_aSecretTokenOfTheHub",
    "AWS_SECRET_ACCESS_KEY": "aSecretKeyOfTheCloud",
    "MY_PASSWORD": "correct-horse-battery",
}


def test_no_file_of_a_run_and_no_word_of_it_holds_a_secret(tmp_path: Path) -> None:
    def condgen(*args: str) -> str:
        env = {**os.environ, **SECRETS}
        command = [sys.executable, "-m", "condgen", *args]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    said = condgen("fit", *FIT, *SHORT)
    (run,) = tmp_path.glob("runs/cgan-digits/*")
    said += condgen("export", str(run), "shared")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"config.yaml", "last.ckpt", "metrics.csv", "model.safetensors", "debug.log"} <= {
        path.name for path in files
    }
    assert any(path.suffix == ".wandb" for path in files)
    for name, secret in SECRETS.items():
        assert secret not in said, name
        for path in files:
            assert secret.encode() not in path.read_bytes(), f"{name} in {path}"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"trainer": {"logger": [{"init_args": {"api_key": "abc"}}]}}, "trainer.logger.init_args.api_key"),
        ({"a": {"dict_kwargs": {"settings": {"api_key": "abc"}}}}, "a.dict_kwargs.settings.api_key"),
        ({"a": {"PASSWORD": "abc"}}, "a.PASSWORD"),
        ({"a": {"wandb_api_key": "abc"}}, "a.wandb_api_key"),
        ({"a": {"uri": "https://me:abc@host/path"}}, "a.uri"),
        ({"a": {"uri": "https://abc@host/path"}}, "a.uri"),
        ({"a": {"uri": "redis://:abc@host"}}, "a.uri"),
        ({"a": {"uri": "https://host/path?user=me&api_key=abc"}}, "a.uri"),
        ({"token": "abc"}, "token"),
        ({"hf_token": "abc"}, "hf_token"),
        ({"aws_secret_access_key": "abc"}, "aws_secret_access_key"),
        ({"private_key": "abc"}, "private_key"),
        ({"accessKey": "abc"}, "accessKey"),
        ({"pwd": "abc"}, "pwd"),
        ({"headers": {"Authorization": "Bearer abc"}}, "headers.Authorization"),
        ({"headers": {"x-api-key": "abc"}}, "headers.x-api-key"),
        ({"api-key": "abc"}, "api-key"),
    ],
)
def test_a_secret_in_a_config_is_named_and_not_shown(config: dict[str, object], name: str) -> None:
    with pytest.raises(UserError, match=f"^{name} holds a secret") as caught:
        refuse_secrets(config)
    assert "abc" not in str(caught.value)


def test_other_values_are_no_secrets() -> None:
    refuse_secrets({"api_key": None, "tokens": "x", "max_tokens": 7, "uri": "https://host:80/x@y", "passwords": "no"})
    refuse_secrets({"key": "class", "tokens": True, "pad_token": "<pad>", "token": True, "key_dim": "8"})
    refuse_secrets({"root": "ssh://git@host/x", "url": "https://host/x?size=64&key=class"})


@pytest.mark.parametrize("variable", ["WANDB_API_KEY", "HF_TOKEN", "MY_PASSWORD", "OTHER_SECRET_2", "MYSQL_PWD"])
def test_the_value_of_a_secret_variable_is_refused_wherever_it_stands(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "abcdefgh")
    with pytest.raises(UserError, match=f"^a.names holds the value of {variable}, and") as caught:
        refuse_secrets({"a": {"names": ["run-abcdefgh-1"]}})
    assert "abcdefgh" not in str(caught.value)


def test_the_values_of_other_variables_and_short_ones_may_stand_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"PWD": "/a/folder", "KEYBOARD": "keyboard", "MY_TOKEN": "digits"}.items():
        monkeypatch.setenv(variable, value)
        refuse_secrets({"name": f"run-{value}"})


def test_a_name_with_a_key_in_it_stops_a_run(fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", SECRETS["WANDB_API_KEY"])
    said = fails("fit", *FIT, *SHORT, "--name", f"run-{SECRETS['WANDB_API_KEY']}")
    assert "name holds the value of WANDB_API_KEY" in said
    assert SECRETS["WANDB_API_KEY"] not in said
    assert not (tmp_path / "runs").exists()


def test_a_secret_stops_a_run_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"settings": {"api_key": "0123456789abcdef"}}
    logger = {"class_path": "lightning.pytorch.loggers.WandbLogger", "dict_kwargs": settings}
    (tmp_path / "logger.yaml").write_text(yaml.safe_dump({"trainer": {"logger": logger}}))
    trust = ["--trust", "lightning.pytorch.loggers"]
    assert main(["fit", *FIT[:-2], "-c", "logger.yaml", *SHORT, *trust]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "settings.api_key holds a secret" in line
    assert not (tmp_path / "runs").exists()
