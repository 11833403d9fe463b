"""A resumed run learns from the data that it began with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning as L

from condgen.callbacks.real_images import data_of
from condgen.callbacks.saving import train_images
from condgen.cli.errors import UserError
from condgen.cli.explain import shortened
from condgen.cli.resume import callback_state
from condgen.models.plain import to_plain

TOLD = 4
"""Differences that are told."""


class SameData(L.Callback):
    """Refuses other data than those of a checkpoint, before anything of the run is written.

    What is compared is what the model knows of them, and the number of training images.

    Args:
        folder: The run's folder.
        checkpoint: What it goes on from; an older one may not have the number of images.
    """

    def __init__(self, folder: Path, checkpoint: Mapping[str, Any]) -> None:
        arguments = checkpoint["hyper_parameters"]
        self.folder = folder
        self.before = {key: arguments[key] for key in ("image_shape", "cond_spec") if key in arguments}
        if (count := callback_state(checkpoint).get("train_images")) is not None:
            self.before["train_images"] = count

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Compare, once the data are there.

        Raises:
            UserError: Naming each field that differs, and both its values.
        """
        data = data_of(trainer)
        spec = {"image_shape": data.image_shape, "cond_spec": data.cond_spec}
        now = to_plain(spec) | {"train_images": train_images(trainer)}
        if told := differences(self.before, {key: now[key] for key in self.before}):
            raise UserError(
                f"--resume {self.folder}: the data have changed: {told}; restore them, or add --allow_changes"
            )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say where nested plain values differ; nothing if they are the same."""
    one, other = dict(leaves(before, "data")), dict(leaves(now, "data"))
    names = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
    told = [
        f"{name} is {shortened(repr(one.get(name)))} there and {shortened(repr(other.get(name)))} here"
        for name in names[:TOLD]
    ]
    return ", ".join([*told, *([f"and {len(names) - TOLD} more"] if names[TOLD:] else [])])


def leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Name each value of nested mappings and lists by its keys and places."""
    if not isinstance(value, Mapping | list) or not value:
        yield name, value
        return
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from leaves(item, f"{name}.{key}")
