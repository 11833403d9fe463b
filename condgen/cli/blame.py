"""The options that name what fails: classes of libraries, which do not suit every model or machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from traceback import walk_tb
from typing import Any

import lightning as L
import torch
from jsonargparse import Namespace
from lightning.pytorch.strategies import Strategy
from torch import nn
from torch.optim import Optimizer

PARTS = (L.Callback, L.Trainer, Optimizer, Strategy, nn.Module)
"""What may be at work where an error arises; the innermost one is."""
LIBRARIES = ("lightning", "torch", "torchvision")
SET_UP = ("accelerator", "strategy", "precision", "profiler", "plugins", "callbacks")
"""Options of the trainer by which it is set up."""


def blamed(error: BaseException, config: Namespace) -> str:
    """Return the option, and what it names, in which an error arose; nothing where it arose in other code.

    Args:
        error: What was raised.
        config: The verb's config, of which nothing is built.
    """
    part = next(parts_at_work(error), None)
    if part is None or type(part).__module__.partition(".")[0] not in LIBRARIES:
        return ""
    if isinstance(error, torch.OutOfMemoryError):
        return ""
    if isinstance(part, Strategy) and isinstance(config.trainer.strategy, str):
        return "" if config.trainer.strategy == "auto" else f"trainer.strategy {config.trainer.strategy}"
    name = type(part).__name__
    return next((f"{option} {name}" for option, path in named(config) if path.rpartition(".")[2] == name), "")


def parts_at_work(error: BaseException) -> Iterator[Any]:
    """List the parts of a run in whose methods, or for which, an error arose, innermost first."""
    for frame, _ in reversed(list(walk_tb(error.__traceback__))):
        if frame.f_globals.get("__name__", "").startswith("torch.nn."):
            continue
        mine = frame.f_locals.get("self")
        found = (mine, getattr(mine, "_strategy", None), frame.f_locals.get("callback"))
        yield from (part for part in found if isinstance(part, PARTS))


def named(value: Any, option: str = "") -> Iterator[tuple[str, str]]:
    """List the classes that a config names, each with the option that does."""
    if isinstance(value, Namespace | Mapping):
        parts = dict(vars(value) if isinstance(value, Namespace) else value)
        if isinstance(parts.get("class_path"), str):
            yield option, parts["class_path"]
        for key, item in parts.items():
            yield from named(item, option if key == "init_args" else f"{option}.{key}".strip("."))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from named(item, option)


def set_up_by(trainer: Namespace, precision: bool) -> str:
    """Name the options, and their values, by which a trainer is set up other than it is by itself.

    Args:
        trainer: Its options.
        precision: Whether its precision was given.
    """
    keys = [key for key in SET_UP if key != "precision" or precision]
    given = {key: trainer.get(key) for key in keys if trainer.get(key) not in (None, "auto", [])}
    words = [
        f"{key} {value if isinstance(value, str | int) else ', '.join(path for _, path in named(value))}"
        for key, value in given.items()
    ]
    return ", ".join(f"trainer.{word}" for word in words) or "these options"
