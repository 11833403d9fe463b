"""What configs describe, built in Python: the models and data that `condgen fit` trains, for scripts and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning as L
from jsonargparse import ArgumentParser

import condgen.conditions
import condgen.metrics
import condgen.models
import condgen.nets
import condgen.objectives
import condgen.processes  # noqa: F401 - so that classes can be named without their module
from condgen.cli.data_config import built, instantiated, parts_of
from condgen.cli.errors import UserError
from condgen.data import ImageDataModule
from condgen.models.plain import to_plain

__all__ = ["Recipe", "build"]

EXAMPLES = {"data": "data/digits.yaml", "model": "model/cgan.yaml"}
"""A config for each part that there must be."""


class Recipe(NamedTuple):
    """What configs describe.

    Attributes:
        model: The model, for that data.
        data: The data.
        trainer: What they say of the trainer, as arguments of `lightning.Trainer`.
    """

    model: L.LightningModule
    data: ImageDataModule
    trainer: dict[str, Any]


def build(*configs: str, options: Sequence[str] = (), trusted: Sequence[str] = ()) -> Recipe:
    """Build what `condgen fit -c CONFIG -c CONFIG OPTION OPTION` would train.

    What it chooses by the machine, such as the precision, and its callbacks are yours to add.

    Args:
        configs: Paths, or names of shipped ones, such as `data/digits.yaml` and `model/cgan.yaml`; later ones win.
        options: Options of data and model, such as `--data.batch_size=64`.
        trusted: Packages that the configs may name, beside `condgen.trust.CONFIG_PACKAGES`.

    Raises:
        UserError: If there is no data or no model, or something is wrong with them.
    """
    for option in options:
        if not option.startswith(("--data", "--model")):
            raise UserError(f"an option is of data or model, as --data.batch_size=64, got {option}")
    parts = {key: parts_of(configs, key) for key in ("data", "model", "trainer")}
    for key, example in EXAMPLES.items():
        if not parts[key]:
            raise UserError(f"{', '.join(configs) or 'no config'} has no {key}; give one such as {example}")
    own = {key: [option for option in options if option.startswith(f"--{key}")] for key in EXAMPLES}
    data = built(ImageDataModule, "data", parts["data"], own["data"], trusted)
    links = {"init_args": {"image_shape": list(data.image_shape), "cond_spec": to_plain(data.cond_spec)}}
    model = built(L.LightningModule, "model", [*parts["model"], links], own["model"], trusted)
    return Recipe(model, data, trainer_arguments(parts["trainer"], trusted))


def trainer_arguments(parts: Sequence[dict[str, Any]], trusted: Sequence[str]) -> dict[str, Any]:
    """Return what configs say of the trainer, loggers and callbacks built; later ones win."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(L.Trainer, "trainer", instantiate=False)
    found = instantiated(parser, "trainer", parts, [], trusted)
    return {name: found[name] for part in parts for name in part}
