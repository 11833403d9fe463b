"""Models and data of configs, built in Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.loggers import CSVLogger

from condgen.cli.errors import UserError
from condgen.cli.verbs import build as build_cli
from condgen.models import CGAN
from condgen.recipes import build

CONFIGS = ("data/digits.yaml", "model/ddpm.yaml", "condition/label.yaml")


def test_a_recipe_is_what_fit_trains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--model.net.width=16", "--data.batch_size=32"]
    by_cli = build_cli("fit", [*(word for name in CONFIGS for word in ("-c", name)), *options], ())
    L.seed_everything(0)
    recipe = build(*CONFIGS, options=options)
    assert recipe.model.init_args == by_cli.model.init_args
    ours, theirs = recipe.model.state_dict(), by_cli.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (recipe.data.batch_size, recipe.data.image_shape) == (32, (1, 8, 8))
    assert recipe.trainer == {"gradient_clip_val": 1.0}


def test_loggers_of_a_recipe_are_built_and_wrong_settings_named(tmp_path: Path) -> None:
    logger = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(tmp_path)}}
    for name, trainer in (("more", {"logger": logger, "max_steps": 3}), ("wrong", {"max_stps": 3})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
    settings = build("data/digits.yaml", "model/ddpm.yaml", str(tmp_path / "more.yaml")).trainer
    assert settings.keys() == {"gradient_clip_val", "logger", "max_steps"}
    assert isinstance(settings["logger"], CSVLogger)
    with pytest.raises(UserError, match="max_stps"):
        build("data/digits.yaml", "model/ddpm.yaml", str(tmp_path / "wrong.yaml"))


def test_a_recipe_can_be_trained(make_trainer: Callable[..., L.Trainer]) -> None:
    model, data, settings = build("data/digits.yaml", "model/cgan.yaml")
    assert isinstance(model, CGAN)
    make_trainer(max_steps=2, **settings).fit(model, data)
    assert model.batches_seen == 2
    assert model.sample({"label": torch.tensor([1])}, seeds=torch.tensor([0])).shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    ("configs", "options", "words"),
    [
        (("data/digits.yaml",), [], "data/digits.yaml has no model; give one such as model/cgan.yaml"),
        ((), [], "no config has no data"),
        (("data/digit.yaml", "model/cgan.yaml"), [], "did you mean 'data/digits.yaml'?"),
        (("data/digits.yaml", "model/cgan.yaml"), ["--model.generater.hidden=[3]"], "generater"),
        (("data/digits.yaml", "model/cgan.yaml"), ["--trainer.max_steps=3"], "an option is of data or model"),
    ],
)
def test_a_wrong_recipe_is_one_line(configs: tuple[str, ...], options: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        build(*configs, options=options)
    assert "\n" not in str(error.value)
