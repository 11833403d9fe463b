"""A run of Weights & Biases that lies inside the run's folder and needs no account."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, cast

from lightning.fabric.loggers.logger import _DummyExperiment, rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

if TYPE_CHECKING:
    from wandb import Run

FOLDER = re.compile(r"(?:offline-)?run-(\d+_\d+)-(.+)")
LONGEST_START = 30.0
"""Seconds that W&B may take to answer."""


def surviving(log: Callable[..., None]) -> Callable[..., None]:
    """Let a method do nothing more once W&B has failed in one: the run goes on without it, and a line says so."""

    @rank_zero_only
    @wraps(log)
    def logged(self: WandbLog, *args: Any, **kwargs: Any) -> None:
        if self.is_lost:
            return
        try:
            log(self, *args, **kwargs)
        except Exception as error:  # W&B's own, its libraries' and the system's
            self.lose(error)

    return logged


class WandbLog(WandbLogger):
    """Logs to Weights & Biases against images seen: offline, unless told otherwise.

    Its files are in the folder `wandb` of the run's folder, and `wandb sync` uploads them at any time. Where W&B is not
    reached, or knows no account, one line says so and the run is kept offline. Where it fails, the run goes on
    without it.

    Attributes:
        is_lost: Whether it has failed.

    Args:
        project: Project of W&B.
        entity: User or team of W&B; null for the account's own.
        name: Name of the run there; null for that of its folder.
        group: Group of the run there; null for the name of the run's kind.
        tags: Tags beside those of model, data and conditions.
        offline: Whether nothing is sent.
        log_model: Whether the last checkpoint is kept as an artifact at the end, which copies it.
    """

    def __init__(
        self,
        project: str = "condgen",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        offline: bool = True,
        log_model: bool = False,
    ) -> None:
        super().__init__(name=name, project=project, offline=offline, entity=entity, group=group)
        self.tags = list(tags)
        self.keeps_checkpoint = log_model
        self.folder = Path()
        self.is_lost = False

    def place(self, folder: Path, tags: Sequence[str]) -> None:
        """Let the files be inside a run's folder, and go on with the run of W&B that is there.

        Args:
            folder: The run's folder.
            tags: Tags beside those that were given.
        """
        self.folder, self._save_dir = folder, str(folder)
        kind, mine = folder.parent.name, self._wandb_init
        mine |= {"dir": str(folder), "tags": list(dict.fromkeys([*tags, *self.tags]))}
        mine |= {"name": mine["name"] or f"{kind}/{folder.name}", "group": mine["group"] or kind}
        mine["id"] = mine["id"] or earlier_id(folder)

    @property
    @rank_zero_experiment
    def experiment(self) -> Run:
        """The run of W&B, in the first process; one that does nothing where W&B has failed."""
        if self._experiment is None and not self.is_lost:
            try:
                self._experiment = self._begin()
            except Exception as error:  # as in `surviving`
                self.lose(error)
        return cast("Run", _DummyExperiment() if self.is_lost else self._experiment)

    def _begin(self) -> Run:
        run = self._started()
        run.define_metric("images_seen")
        run.define_metric("*", step_metric="images_seen")
        return run

    def _started(self) -> Run:
        from wandb.errors import Error

        if not self._offline:
            try:
                with unasked():
                    return self._init(None)
            except Error as error:
                self._offline = True
                where = self.folder / "wandb"
                print(f"wandb: {in_a_line(error)}; the run goes on, offline in {where}: `wandb sync` sends it later")
        return self._init("offline")

    def _init(self, mode: str | None) -> Run:
        import wandb

        calm = wandb.Settings(silent=True, quiet=True, console="off", init_timeout=LONGEST_START)
        told = {key: value for key, value in self._wandb_init.items() if value is not None}
        told |= {"mode": mode, "settings": calm, "resume": None if self._offline else "allow"}
        return wandb.init(**told, reinit="finish_previous")

    def lose(self, error: Exception) -> None:
        """Go on without W&B, and let it end now rather than with the process, where it would fail aloud."""
        if self.is_lost:
            return
        self.is_lost = True
        print(f"wandb: {in_a_line(error)}; the run goes on without it")
        with suppress(Exception):
            import wandb

            wandb.teardown(exit_code=1)

    @surviving
    def log_hyperparams(self, params: Any) -> None:
        """Set the run's config."""
        super().log_hyperparams(params)

    @surviving
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log values against images seen."""
        self.experiment.log({**metrics, **({} if step is None else {"images_seen": step})})

    @surviving
    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log pictures against images seen."""
        super().log_image(key, images, step, **kwargs)

    @surviving
    def log_table(self, *args: Any, **kwargs: Any) -> None:
        """Log a table."""
        super().log_table(*args, **kwargs)

    @surviving
    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Set values of the run's summary."""
        self.experiment.summary.update(dict(values))

    @surviving
    def close(self, failed: bool) -> None:
        """Keep the last checkpoint if that was asked for, and end the run of W&B."""
        if self._experiment is None:
            return
        checkpoint = self.folder / "checkpoints" / "last.ckpt"
        if self.keeps_checkpoint and checkpoint.is_file():
            self._experiment.log_artifact(str(checkpoint), name=f"model-{self._experiment.id}", type="model")
        self._experiment.finish(exit_code=int(failed))
        self._wandb_init["id"], self._experiment = self._experiment.id, None


def in_a_line(error: Exception) -> str:
    """Return what an error says, in a line that is not too long."""
    return shorten(str(error) or type(error).__name__, 200, placeholder=" ...").rstrip(".")


def earlier_id(folder: Path) -> str | None:
    """Return the id of the latest run of W&B whose files are in a run's folder; null if there is none."""
    found = [match.groups() for path in folder.glob("wandb/*") if (match := FOLDER.fullmatch(path.name))]
    return max(found)[1] if found else None


@contextmanager
def unasked() -> Iterator[None]:
    """Keep W&B from asking for a key, and a run from waiting for an answer."""
    before = sys.stdin
    with open(os.devnull) as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = before
