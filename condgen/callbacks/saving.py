"""What a checkpoint of a run is, and where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from weakref import proxy

import lightning as L
from lightning.pytorch.callbacks import Checkpoint as CheckpointBase

from condgen.callbacks.collapse_watch import CollapseWatch
from condgen.callbacks.kept import Kept, checkpoint_name
from condgen.callbacks.loop_state import between_batches, validation_is_due
from condgen.callbacks.run_log import RunLog
from condgen.data import ImageDataModule


class Saving(CheckpointBase):
    """Saves `last.ckpt` and others by their own names; a subclass says when.

    Args:
        kept: Which others.
    """

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self.kept = kept
        self.stack: dict[str, Any] = {}
        self.train_images: int | None = None
        self._rows: int | None = None
        self._between = False
        self._validating = False
        self._saved = (0, False)

    def _mark(self, trainer: L.Trainer, *, validating: bool) -> None:
        """Note that the run can go on from here, after what has been logged by now."""
        self._between, self._validating = True, validating
        self._rows = next((log.experiment.count for log in logs(trainer)), None)

    def _save_in_turn(self, trainer: L.Trainer) -> None:
        """Save unless a collapse is suspected; rank what is saved if no validation does it."""
        if not any(watch.suspects for watch in watches(trainer)):
            self._save(trainer)
            if not trainer.enable_validation:
                self._save_if_good(trainer)

    def _save_unless_suspicious(self, trainer: L.Trainer) -> None:
        """Save over an older checkpoint only if no collapse is suspected."""
        if not any(watch.suspects for watch in watches(trainer)) or not self._is_there(trainer):
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        """Save the last checkpoint, and the latest by its own name, unless that is done already."""
        now = (batches_seen(trainer), self._validating)
        if now == self._saved or cast(Any, trainer).fast_dev_run:
            return
        trainer.save_checkpoint(self.last_model_path)
        if self.kept.monitor is None:
            self._save_by_name(trainer)
        self._saved = now
        for logger in trainer.loggers if trainer.is_global_zero else []:
            logger.after_save_checkpoint(proxy(self))

    def _save_if_good(self, trainer: L.Trainer) -> None:
        """Save by its own name what is among the best."""
        if self.kept.monitor is None or any(watch.suspects for watch in watches(trainer)):
            return
        found = trainer.callback_metrics
        if self.kept.monitor not in found:
            raise ValueError(
                f"checkpoint.monitor: no score {self.kept.monitor!r}; there are {', '.join(found) or 'none'}"
            )
        score = float(found[self.kept.monitor])
        if self.kept.admits(score):
            self.kept.scores[checkpoint_name(images_seen(trainer))] = score
            self._save_by_name(trainer)

    def _save_by_name(self, trainer: L.Trainer) -> None:
        """Save, and remove the worst or oldest in excess."""
        if self.kept.number == 0 or cast(Any, trainer).fast_dev_run:
            return
        trainer.save_checkpoint(self.kept.folder / checkpoint_name(images_seen(trainer)))
        for name in self.kept.excess():
            trainer.strategy.remove_checkpoint(self.kept.folder / name)
            self.kept.scores.pop(name, None)

    def _is_there(self, trainer: L.Trainer) -> bool:
        """Tell on all processes whether the first one has a last checkpoint."""
        return bool(trainer.strategy.broadcast(Path(self.last_model_path).is_file()))

    # ------------------------------------------------------------------ what Lightning and its loggers read

    @property
    def save_top_k(self) -> int:
        """Number of checkpoints that are kept."""
        return self.kept.number

    @property
    def last_model_path(self) -> str:
        """Path of the last checkpoint."""
        return str(self.kept.folder / "last.ckpt")

    @property
    def best_model_path(self) -> str:
        """Path of the best, or the newest, that was saved by name; empty if there is none."""
        names = self.kept.names()
        return str(self.kept.folder / names[0]) if names else ""

    @property
    def best_model_score(self) -> float | None:
        """The best score."""
        return self.kept.scores.get(Path(self.best_model_path).name)

    current_score = best_model_score

    # ------------------------------------------------------------------ state

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let the loops go on between two batches, wherever they are now."""
        if trainer.state.fn == "fit" and batches_seen(trainer):
            validating = self._validating if self._between else validation_is_due(trainer)
            checkpoint["loops"]["fit_loop"] = between_batches(trainer, validating)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to log, to validate and to rank as if it had not stopped."""
        return {
            "rows": self._rows,
            "validating": self._validating,
            "scores": dict(self.kept.scores),
            "stack": self.stack,
            "train_images": self.train_images,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state."""
        self._rows, self._validating, self.stack = (state_dict[name] for name in ("rows", "validating", "stack"))
        self.kept.restore(state_dict["scores"])


def batches_seen(trainer: L.Trainer) -> int:
    """Return how many batches the model has been trained on."""
    return int(getattr(trainer.lightning_module, "batches_seen", trainer.global_step))


def images_seen(trainer: L.Trainer) -> int:
    """Return how many images the model has been trained on."""
    return int(getattr(trainer.lightning_module, "images_seen", 0))


def train_images(trainer: L.Trainer) -> int | None:
    """Return the number of training images; null if they come from elsewhere than condgen's data modules."""
    data = getattr(trainer, "datamodule", None)
    return len(data.images("train")) if isinstance(data, ImageDataModule) else None


def logs(trainer: L.Trainer) -> list[RunLog]:
    """Return the run's own log, in the first process."""
    return [log for log in trainer.loggers if isinstance(log, RunLog)] if trainer.is_global_zero else []


def watches(trainer: L.Trainer) -> list[CollapseWatch]:
    """Return the trainer's collapse watches."""
    return [callback for callback in cast(Any, trainer).callbacks if isinstance(callback, CollapseWatch)]
