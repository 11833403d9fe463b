"""What loggers beside the run's own are told: the config, the code's version, and at the end the scores."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.loggers import Logger

from condgen import __version__
from condgen.callbacks import RunLog, WandbLog
from condgen.cli.files import PACKAGE
from condgen.cli.summary import history, summary
from condgen.models import GenerativeModel

if TYPE_CHECKING:
    from condgen.cli.lightning import CLI


@contextmanager
def tracked(cli: CLI, verb: str) -> Iterator[None]:
    """Hand config and version to the loggers, let the work be done, and hand them the scores."""
    others = [logger for logger in cli.trainer.loggers if not isinstance(logger, RunLog)]
    if others and cli.trainer.is_global_zero:
        facts = {**plain_config(cli, verb), "code": code_version(), "summary": summary(cli)}
        for logger in others:
            logger.log_hyperparams(facts)
    failed = True
    try:
        yield
        failed = False
    finally:
        for logger in others:
            conclude(cli, verb, logger, failed)


def conclude(cli: CLI, verb: str, logger: Logger, failed: bool) -> None:
    """Give the table of scores to a logger that takes tables, and end its run."""
    if isinstance(logger, WandbLog) and cli.trainer.is_global_zero:
        columns, rows = score_columns(cli, verb)
        if rows:
            logger.log_table("scores", columns, rows)
        if verb == "fit":
            logger.log_summary({f"best/{item.score}": item.best for item in history(cli)})
        logger.close(failed)


def score_columns(cli: CLI, verb: str) -> tuple[list[str], list[list[Any]]]:
    """Lay the scores out: those of validations in `fit`, those of the report in `validate` and `test`."""
    if verb == "fit":
        columns = ["score", "last", "best", "at images", "good is"]
        return columns, [[item.score, item.last, item.best, item.images, item.better] for item in history(cli)]
    report = cli.run_folder / "metrics.json"
    scores = json.loads(report.read_text())["scores"] if report.is_file() else {}
    keys = ["value", "low", "high", "better"]
    rows = [[name, *(row.get(key) for key in keys), row.get("floor", {}).get("mean")] for name, row in scores.items()]
    return ["score", "value", "low", "high", "good is", "real images"], rows


def plain_config(cli: CLI, verb: str) -> dict[str, Any]:
    """Return the run's whole config in plain values, as `config.yaml` has it."""
    text = cli.parser.dump(cli.config, format="json", skip_unset=False)
    config: dict[str, Any] = json.loads(text)[verb]
    return config


def tags(cli: CLI) -> list[str]:
    """Return the model's, the data's and the conditions' names."""
    keys = cli.model.condition_keys if isinstance(cli.model, GenerativeModel) else ()
    return [type(cli.model).__name__, type(cli.datamodule).__name__, *keys]


def code_version() -> dict[str, Any]:
    """Return the versions of condgen and torch, and the commit of condgen where it runs from a checkout."""
    return {"condgen": __version__, "torch": str(torch.__version__), **commit(PACKAGE)}


def commit(folder: Path) -> dict[str, Any]:
    """Return the commit of a package's files, and whether they were changed since; nothing where git has none."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno", "."))}
    except (OSError, subprocess.SubprocessError):
        return {}
