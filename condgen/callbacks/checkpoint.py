"""Checkpoints named by images seen, at moments from which a run goes on as if it had not stopped."""

from __future__ import annotations

from typing import Any, Literal

import lightning as L

from condgen.callbacks.kept import Kept
from condgen.callbacks.leaving import answer, asked_of, hold_signals, is_time_to_ask
from condgen.callbacks.loop_state import epoch_ends, validation_is_due
from condgen.callbacks.run_folder import run_folder
from condgen.callbacks.saving import Saving, batches_seen, logs, train_images, watches
from condgen.callbacks.stack import changes, stack
from condgen.interrupts import interrupts
from condgen.models.recorded import RecordedModule


class Checkpoint(Saving):
    """Saves `checkpoints/last.ckpt` and the best or latest ones as `checkpoints/images=000064000.ckpt`.

    All are written between two batches, with no gradient waiting for the next one. A process that is asked to leave, by
    SIGTERM or Ctrl-C, saves and leaves there; all processes leave together. Nothing is saved over older checkpoints
    while a `CollapseWatch` that may stop the run suspects a collapse.

    Args:
        every_n_batches: Batches between two saves; the end of training is always saved.
        keep: Number of checkpoints to keep beside the last; -1 for all, 0 for none.
        monitor: Score that ranks them at each validation, such as `val/fd_digits`; null to keep the latest.
        mode: Whether a high (`max`) or a low (`min`) score is good.
    """

    def __init__(
        self,
        every_n_batches: int = 1000,
        keep: int = 1,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        super().__init__(Kept(keep, monitor, mode))
        for name, value, least in (("every_n_batches", every_n_batches, 1), ("keep", keep, -1)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        self.every_n_batches = every_n_batches
        self._window_start = 0
        self._due_at_epoch_end = False
        self._stop_at_window_end = False
        self._max_steps: int | None = None

    # ------------------------------------------------------------------ begin

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Save inside the run's folder."""
        self.kept.folder = run_folder(trainer) / "checkpoints"

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let a run begin that has done all its batches, and was stopped before the validation behind the last."""
        validating = checkpoint.get("callbacks", {}).get(self.state_key, {}).get("validating", False)
        if trainer.state.fn == "fit" and validating and checkpoint["global_step"] == trainer.max_steps:
            self._max_steps, trainer.fit_loop.epoch_loop.max_steps = trainer.max_steps, -1

    def _limit_steps(self, trainer: L.Trainer) -> None:
        """Put the limit back that `on_load_checkpoint` took away."""
        if self._max_steps is not None:
            trainer.fit_loop.epoch_loop.max_steps, self._max_steps = self._max_steps, None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on from here: what was logged later is forgotten, and signals wait for a good moment."""
        now = stack(trainer)
        if changed := changes(self.stack, now):
            pl_module.print(f"warning: {changed}: what follows may differ in the last digits")
        self.stack, self.train_images = now, train_images(trainer)
        if not validation_is_due(trainer):
            self._limit_steps(trainer)
        self._window_start = batches_seen(trainer)
        self._saved = (self._window_start, self._validating)
        self._due_at_epoch_end = self._stop_at_window_end = False
        self.kept.scores = trainer.strategy.broadcast(self.kept.on_disk())
        for log in logs(trainer):
            log.experiment.keep(self._rows)
        self._mark(trainer, validating=self._validating)
        hold_signals(trainer)

    # ------------------------------------------------------------------ batches

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Until the batch ends, nothing can be saved."""
        self._between = False

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Save if it is time or this process is asked to leave, or at the epoch's end if that comes next."""
        if not self._at_window_end(trainer):
            return
        before, self._window_start = self._window_start, batches_seen(trainer)
        due = self._window_start // self.every_n_batches > before // self.every_n_batches
        validating = validation_is_due(trainer)
        if epoch_ends(trainer) and not validating:
            self._due_at_epoch_end = due
            return
        self._mark(trainer, validating=validating)
        if due:
            self._save_in_turn(trainer)
        if is_time_to_ask(trainer, self._window_start):
            self._leave_if_asked(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what the last batch left for now, when other callbacks have ended the epoch too."""
        if not epoch_ends(trainer):
            return
        self._mark(trainer, validating=False)
        due, self._due_at_epoch_end = self._due_at_epoch_end, False
        if due:
            self._save_in_turn(trainer)
        self._leave_if_asked(trainer)

    # ------------------------------------------------------------------ validation

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let a validation be left at any time: what comes before it is saved, and it is begun anew."""
        self._limit_steps(trainer)
        if trainer.state.fn == "fit" and self._between and trainer.world_size == 1:
            interrupts.release()

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let signals wait again: all scores are there."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            interrupts.hold()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save if the score is among the best."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if self._at_window_end(trainer):
            self._mark(trainer, validating=False)
            self._save_if_good(trainer)
            self._leave_if_asked(trainer)
        elif self.kept.monitor is not None:
            raise ValueError(
                "checkpoint.monitor needs validations between accumulation windows: let trainer.val_check_interval be "
                "a multiple of accumulate_grad_batches"
            )

    # ------------------------------------------------------------------ end

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the end of training, unless that is a collapse and there is an older checkpoint."""
        stopped = any(watch.stopped for watch in watches(trainer))
        kept = stopped and self._is_there(trainer)
        if stopped:
            best = self.best_model_path or self.last_model_path
            pl_module.print(f"checkpoint kept: {best}" if kept else "no checkpoint is older than the collapse")
        if not kept:
            self._save(trainer)
        interrupts.release()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save if this process was asked to leave between two batches; other failures save nothing."""
        if interrupts.received is not None:
            interrupts.hold()
            if self._between and trainer.world_size == 1:
                self._save_unless_suspicious(trainer)

    def _at_window_end(self, trainer: L.Trainer) -> bool:
        """Tell whether an accumulation window has ended; until then, let nothing stop the training."""
        model = trainer.lightning_module
        ended = model.at_window_end if isinstance(model, RecordedModule) else True
        stop = trainer.should_stop or self._stop_at_window_end
        trainer.should_stop, self._stop_at_window_end = stop and ended, stop and not ended
        return ended

    def _leave_if_asked(self, trainer: L.Trainer) -> None:
        """Save and leave if any process is asked to; have the job queued again if the cluster asks for that."""
        asked = asked_of(trainer)
        if any(asked):
            self._save_unless_suspicious(trainer)
            answer(trainer, asked)
