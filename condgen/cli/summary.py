"""What a run says of itself when it begins and when it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import lightning as L

from condgen.callbacks import Checkpoint
from condgen.cli.callbacks import score_directions
from condgen.cli.outcome import Outcome, outcomes, told_first
from condgen.models import GenerativeModel
from condgen.report.history import read_log
from condgen.types import CondSpec

if TYPE_CHECKING:
    from condgen.cli.lightning import CLI


def summary(cli: CLI) -> str:
    """Say what runs on what, and why the precision is as it is, if it was not given."""
    count = sum(p.numel() for p in cli.model.parameters() if p.requires_grad)
    device = cli.trainer.strategy.root_device.type
    why = f" ({cli.precision_reason})" if cli.precision_reason else ""
    return (
        f"{type(cli.model).__name__} with {count:,} trained parameters on {type(cli.datamodule).__name__} "
        f"{'x'.join(map(str, cli.datamodule.image_shape))}, {cli.trainer.world_size} x {device}, "
        f"precision {cli.trainer.precision}{why}, seed {os.environ.get('PL_GLOBAL_SEED')}"
    )


def beginning(cli: CLI) -> str:
    """Say what runs on what, what is asked for, and where it is written."""
    keys = cli.model.condition_keys if isinstance(cli.model, GenerativeModel) else ()
    lines = [summary(cli), f"run folder   {cli.run_folder}"]
    if keys:
        lines.insert(1, f"condition    {conditions_in_words(cli.datamodule.cond_spec, keys)}")
    return "\n".join(lines)


def conditions_in_words(cond_spec: CondSpec, keys: tuple[str, ...]) -> str:
    """Name conditions, and how many classes or numbers they have."""
    counts = {key: len(cond_spec[key]["names"]) for key in keys if "names" in cond_spec.get(key, {})}
    counts |= {key: cond_spec[key]["num_classes"] for key in keys if "num_classes" in cond_spec.get(key, {})}
    return ", ".join(f"{key} of {counts[key]}" if key in counts else key for key in keys)


def ending(cli: CLI, verb: str) -> str:
    """Say what was reached, where things are, and what comes next."""
    return "\n".join([*reached(cli, verb), f"run folder   {cli.run_folder}", *following(cli, verb)])


def reached(cli: CLI, verb: str) -> Iterator[str]:
    """Tell the best score of `fit` and its last grid, where the images of `predict` are, and why nothing was scored."""
    scored = (cli.run_folder / "metrics.json").is_file() or not isinstance(cli.model, GenerativeModel)
    if verb in ("validate", "test") and not scored:
        yield "nothing was scored: evaluation.extractor is null, and evaluation.obedience is empty"
        yield "a classifier can score: train one by -c model/classifier.yaml, and it says how"
    if verb == "predict":
        yield f"images       {cli.run_folder / 'predictions'}, each named by its place in the split, which is its seed"
    if verb != "fit":
        return
    monitors = [callback.kept.monitor for callback in callbacks(cli) if isinstance(callback, Checkpoint)]
    best = told_first(history(cli), next(iter(monitors), None))
    if best is not None:
        yield (
            f"best         {best.score} {best.best:.4g} at {best.images:,} images, {best.better} is better; "
            f"last {best.last:.4g}"
        )
    grid = max((cli.run_folder / "samples").glob("*.png"), default=None)
    if grid is not None:
        yield f"grid         {grid}"


def history(cli: CLI) -> list[Outcome]:
    """Return the best of each validation score in the run's log."""
    better = {f"val/{name}": way for name, way in score_directions(cli.model, callbacks(cli)).items()}
    return outcomes(read_log(cli.run_folder), better)


def callbacks(cli: CLI) -> list[L.Callback]:
    """List the trainer's callbacks."""
    found: list[L.Callback] = cli.trainer.callbacks  # type: ignore[attr-defined]
    return found


def following(cli: CLI, verb: str) -> Iterator[str]:
    """Name the command that is likely to come next."""
    run, trust = cli.run_folder, trust_flags(cli)
    if verb == "fit" and any(run.glob("checkpoints/*.ckpt")):
        is_scored = not isinstance(cli.model, GenerativeModel) or score_directions(cli.model, callbacks(cli))
        yield f"next: condgen test {run}{trust}" if is_scored else f"next: condgen sample --ckpt {run}{trust}"
    elif verb == "validate":
        yield f"next: condgen test {checkpoint_of(cli)}{trust}"
    elif verb == "test" and (run / "metrics.json").is_file():
        yield f"next: condgen compare {run} OTHER_TEST_RUN --out compare.html{trust}"


def checkpoint_of(cli: CLI) -> str:
    """Return what was scored."""
    return str(cli.trainer.ckpt_path or cli.model.loaded_from)


def trust_flags(cli: CLI) -> str:
    """Write the flags without which the run cannot be read."""
    return "".join(f" --trust {package}" for package in cli.trusted)
