"""Progress over a whole run: a live bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from math import ceil
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch import Tensor

GROWTH = 0.05
"""Share of the time until now that passes before the next line."""
LONGEST = 60.0
SCORES_SHOWN = 2


class Bar(Progress):
    """A line with the bar, and the facts below it, which may take more than one line."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield both."""
        yield self.make_tasks_table(self.tasks)
        yield from (Text(task.fields["facts"], style="dim") for task in self.tasks if task.fields["facts"])


class RunProgress(ProgressBar):
    """Shows batches, the time left, images per second, the last scores and the losses.

    Args:
        bar_interval: Seconds between two refreshes of the bar.
        line_interval: Seconds between two lines at first where the output is no terminal; it grows with the time that
            training has taken, to 60.
        console: Where; null for the standard output.
    """

    def __init__(self, bar_interval: float = 0.2, line_interval: float = 5.0, console: Console | None = None) -> None:
        super().__init__()
        self.console = console or Console()
        self.prints_above = console is None
        self.interval = bar_interval if self.console.is_terminal else line_interval
        self.bar: Progress | None = None
        self.enabled = True

    @property
    def is_enabled(self) -> bool:
        """Whether this process shows anything."""
        return self.enabled

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        self.console.print(*args, markup=False, highlight=False, soft_wrap=True)

    def disable(self) -> None:
        """Show nothing; Lightning calls this on all processes but the first."""
        self.enabled = False

    def enable(self) -> None:
        """Show progress."""
        self.enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin."""
        steps = [trainer.max_steps] if trainer.max_steps >= 0 else []
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            size = trainer.accumulate_grad_batches  # 1 under manual optimisation, where each batch counts as a step
            steps.append(trainer.max_epochs * ceil(trainer.num_training_batches / size))
        self.total = min(steps) if steps else None
        self.last = self.start = time.monotonic()
        self.images_before, self.steps_before = getattr(pl_module, "images_seen", 0), trainer.global_step
        if self.enabled and self.console.is_terminal:
            self.bar = Bar(
                TextColumn("training"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[rate]}"),
                console=self.console,
                expand=True,
                auto_refresh=False,  # a thread that renders ten times a second takes its part of the core
                redirect_stdout=self.prints_above,
                redirect_stderr=self.prints_above,
            )
            self.task = self.bar.add_task(
                "training", total=self.total, completed=trainer.global_step, rate="", facts=""
            )
            self.bar.start()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """Refresh when it is time."""
        if self.enabled and (now := time.monotonic()) - self.last >= self.interval:
            self._show(trainer, pl_module)
            if self.bar is None:
                self.interval = max(self.interval, min(LONGEST, (now - self.start) * GROWTH))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the end."""
        if self.enabled:
            self._show(trainer, pl_module)
        self._stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._stop()

    def _show(self, trainer: L.Trainer, model: L.LightningModule) -> None:
        self.last = time.monotonic()
        images = getattr(model, "images_seen", 0) - self.images_before
        rate = f"{images / max(self.last - self.start, 1e-9):,.0f} images/s"
        facts = [f"{name.removeprefix('val/')} {value:.3f}" for name, value in last_scores(trainer)]
        losses: dict[str, Tensor] = getattr(model, "losses", {})
        values = torch.stack([*losses.values()]).tolist() if losses else []
        facts += [f"{name.removeprefix('train/')} {value:.3f}" for name, value in zip(losses, values, strict=True)]
        if self.bar is not None:
            done = trainer.global_step
            self.bar.update(self.task, completed=done, rate=rate, facts="  ".join(facts), refresh=True)
        else:
            batch = f"batch {trainer.global_step}/{self.total or '?'}"
            print(batch, *self._left(trainer), rate, *facts, sep="  ", flush=True)

    def _left(self, trainer: L.Trainer) -> list[str]:
        """Tell the time left at the rate until now; nothing at the end, or where that is not known."""
        done = trainer.global_step - self.steps_before
        if self.total is None or done < 1 or trainer.global_step >= self.total:
            return []
        seconds = (self.last - self.start) / done * (self.total - trainer.global_step)
        return [f"{timedelta(seconds=round(seconds))} left"]

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def last_scores(trainer: L.Trainer) -> list[tuple[str, float]]:
    """Return the first scores of the last validation; none before it."""
    scores = [(name, value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")]
    return [(name, float(value)) for name, value in scores[:SCORES_SHOWN]]
