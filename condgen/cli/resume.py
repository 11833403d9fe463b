"""`condgen fit --resume RUN` or `--ckpt_path last`: the same run goes on, in the same folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.cli import LightningArgumentParser

from condgen.checkpoints import newest_run
from condgen.checkpoints.load import saved
from condgen.cli.elastic import restarted_folder
from condgen.cli.errors import UserError
from condgen.cli.files import job, run_name

LAST = "last"
"""The checkpoint by which `fit` goes on with the newest run of its name."""
FREE = (
    "trainer.max_steps", "trainer.max_epochs", "trainer.max_time", "trainer.min_steps", "trainer.min_epochs",
    "trainer.logger", "trainer.log_every_n_steps", "trainer.enable_progress_bar", "trainer.enable_model_summary",
    "trainer.profiler", "trainer.limit_val_batches", "trainer.val_check_interval", "trainer.check_val_every_n_epoch",
    "checkpoint", "grid", "collapse", "evaluation", "likelihood",
    "data.workers", "data.cache_gib", "data.eval_batch_size", "data.download",
    "timeout", "rollback", "config", "include", "ckpt_path", "resume", "allow_changes", "weights_only",
)  # fmt: skip
"""What a resumed run may be given anew: how long it trains, and how it is watched; never what it learns."""

PARTS = {
    "global_step": int, "epoch": int, "loops": dict, "callbacks": dict, "optimizer_states": list, "lr_schedulers": list,
    "pytorch-lightning_version": str,
}  # fmt: skip
"""What training goes on from, and of which type."""
FILLED = ("loops", "optimizer_states")
"""Which of them are never empty."""


def add_resume(parser: LightningArgumentParser) -> None:
    """Add the options that let a run go on."""
    parser.add_argument("--resume", type=str | None, default=None, help="run's folder: go on there, bit for bit")
    parser.add_argument("--allow_changes", action="store_true", help="go on though the config has changed")
    parser.add_argument(
        "--rollback",
        type=NonNegativeInt,
        default=0,
        help="times that a run whose loss is not finite goes back to its last checkpoint, with half the learning rates",
    )


def resumed_folder(args: list[str]) -> Path | None:
    """Return the folder that `--resume` names; null without it.

    Raises:
        UserError: If it is no run's folder.
    """
    given = [words for words in zip_longest(args, args[1:], fillvalue="") if words[0].partition("=")[0] == "--resume"]
    if not given:
        return None
    word, following = given[-1]
    name = word.partition("=")[2] if "=" in word else following
    if not name:
        raise UserError("--resume is empty, which is no run's folder; say runs/NAME/STAMP, or runs/NAME for the newest")
    folder = newest_run(name)
    if not (folder / "config.yaml").is_file():
        raise UserError(f"--resume {folder}: that is no run's folder, for it has no config.yaml")
    return folder


def check_changes(folder: Path, began: Namespace, given: Namespace, parser: ArgumentParser) -> None:
    """Refuse a config by which the run would not go on as it began.

    Args:
        folder: The run's folder.
        began: Its config.
        given: The config that it would go on with.
        parser: The parser of both.

    Raises:
        UserError: Naming each field that differs, and both its values.
    """
    before, now = fields(began, parser), fields(given, parser)
    free = FREE if given.trainer.precision else (*FREE, "trainer.precision")  # what is left open stays as it was chosen
    names = [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]
    changed = [name for name in names if not any(f"{name}.".startswith(f"{group}.") for group in free)]
    if changed and not given.allow_changes:
        told = ", ".join(f"{name} is {before.get(name)!r} there and {now.get(name)!r} here" for name in changed)
        raise UserError(f"--resume {folder}: {told}; leave that out, or add --allow_changes")


def fields(config: Namespace, parser: ArgumentParser) -> dict[str, Any]:
    """Return the values of a config, as they would be written, by the names of their options."""
    return dict(walk(json.loads(parser.dump(config, format="json", skip_unset=False)), ""))


def walk(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Name each value of a nested config, a class by where it stands."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, item in value.items():
        own = () if key in ("class_path", "init_args") else (str(key),)
        yield from walk(item, ".".join((*([name] if name else []), *own)))


def check_parts(checkpoint: Mapping[str, Any], file: str, *, of_run: bool) -> None:
    """Refuse a checkpoint from which training would begin anew, or could not begin.

    Args:
        checkpoint: What was read.
        file: Where.
        of_run: Whether the run that it is of goes on, which condgen's callback is needed for.

    Raises:
        UserError: Naming what is missing, or of another type.
    """
    found = {name: checkpoint.get(name) for name in PARTS}
    wrong = [name for name, kind in PARTS.items() if not isinstance(found[name], kind)]
    wrong += [name for name in FILLED if name not in wrong and not found[name]]
    if of_run and not callback_state(checkpoint):
        wrong.append("callbacks.Checkpoint")
    if wrong:
        raise UserError(f"{file} is not as condgen writes it for training: look at its {', '.join(wrong)}")


def check_processes(checkpoint: Mapping[str, Any], folder: Path, processes: int) -> None:
    """Refuse another number of processes, which sees other batches.

    Raises:
        UserError: Naming both.
    """
    before = stack_of(checkpoint).get("processes", processes)
    if before != processes:
        raise UserError(
            f"--resume {folder}: the run has {before} processes, not {processes}; set trainer.devices and "
            "trainer.num_nodes as they were, or add --allow_changes"
        )


def stack_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a checkpoint says of the machine and software that it was trained with."""
    found = callback_state(checkpoint).get("stack", {})
    return found if isinstance(found, Mapping) else {}


def callback_state(checkpoint: Mapping[str, Any], name: str = "Checkpoint") -> Mapping[str, Any]:
    """Return what a callback keeps in a checkpoint; nothing where that is damaged."""
    callbacks = checkpoint.get("callbacks", {})
    found = callbacks.get(name, {}) if isinstance(callbacks, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def finished(checkpoint: Mapping[str, Any], trainer: Namespace) -> str:
    """Say how a run that has ended can go on; nothing if it has not, or if its last validation is yet to be done."""
    steps, epochs = checkpoint.get("global_step", 0), checkpoint.get("epoch", 0)
    validating = callback_state(checkpoint).get("validating", False)
    if 0 <= trainer.max_steps < steps or (steps == trainer.max_steps and not validating):
        return f"is at step {steps} of {trainer.max_steps}; raise --trainer.max_steps to go on"
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= epochs:
        return f"is at epoch {epochs} of {trainer.max_epochs}; raise --trainer.max_epochs to go on"
    if trainer.max_time is not None and steps >= (trainer.min_steps or 0) and epochs >= (trainer.min_epochs or 0):
        return out_of_time(checkpoint, trainer.max_time)
    return ""


def out_of_time(checkpoint: Mapping[str, Any], most: str | timedelta | dict[str, int]) -> str:
    """Say that a run has trained for as long as it may, if so."""
    timer = Timer(most)
    timer.load_state_dict(dict(callback_state(checkpoint, "Timer")))
    if (timer.time_remaining() or 0.0) > 0.0:
        return ""
    return f"has trained for {timer.time_elapsed():.0f} seconds, and trainer.max_time is {most}; raise it to go on"


# ---------------------------------------------------------------------- runs that are found by their names


def run_to_go_on(config: Namespace) -> Path | None:
    """Return the run of its name that this very job began before it was started again, or the last one if asked for it.

    Raises:
        UserError: If the last one is asked for, and there is none.
    """
    named = Path(config.runs) / run_name(config)
    return requeued_folder(named) or restarted_folder() or (last_run(named) if config.ckpt_path == LAST else None)


def last_run(named: Path) -> Path:
    """Return the newest run of one name that has saved something.

    Raises:
        UserError: If there is none.
    """
    run = newest_run(named)
    if not (saved(run) and (run / "config.yaml").is_file()):
        raise UserError(f"--ckpt_path {LAST}: {named} has no run with a checkpoint; leave it out to begin one")
    return run


def requeued_folder(named: Path) -> Path | None:
    """Return the folder, of those of one name, in which a job of SLURM trained before it was queued again."""
    if not job() or os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        return None
    own = (path for path in named.glob(f"*{job()}*") if f"{path.name}-".partition(f"{job()}-")[1])
    return max(filter(saved, own), default=None)
