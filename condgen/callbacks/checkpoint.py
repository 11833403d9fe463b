"""Checkpoints named by images seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from condgen.callbacks.collapse_watch import CollapseWatch
from condgen.callbacks.run_folder import run_folder


class Checkpoint(ModelCheckpoint):
    """Saves `checkpoints/last.ckpt` and the best or latest ones as `checkpoints/images=000064000.ckpt`.

    Nothing is saved over them while a `CollapseWatch` that may stop the run suspects a collapse.

    Args:
        every_n_batches: Batches between two saves; the end of training is always saved.
        keep: Number of checkpoints to keep beside the last; -1 for all, 0 for none.
        monitor: Score that ranks them, such as `val/fd_digits`; null to keep the latest.
        mode: Whether a high (`max`) or a low (`min`) score is good.
    """

    def __init__(
        self,
        every_n_batches: int = 1000,
        keep: int = 1,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        super().__init__(
            filename="images={images_seen:09.0f}",
            auto_insert_metric_name=False,
            every_n_train_steps=every_n_batches,
            save_top_k=keep,
            monitor=monitor,
            mode=mode,
            save_last=True,
        )

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Save inside the run's folder."""
        self.dirpath = str(run_folder(trainer) / "checkpoints")
        super().setup(trainer, pl_module, stage)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the end of training, which the base class does only where nothing was saved before."""
        kept = self.best_model_path or self.last_model_path
        if any(watch.stopped for watch in watches(trainer)):
            saved = Path(kept).is_file()
            pl_module.print(f"checkpoint kept: {kept}" if saved else "no checkpoint is older than the collapse")
            if saved:
                return
        if trainer.global_step and self._last_global_step_saved != trainer.global_step:
            candidates = self._monitor_candidates(trainer)
            if self.monitor is None or self.monitor in candidates:
                self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)

    def _should_skip_saving_checkpoint(self, trainer: L.Trainer) -> bool:
        return super()._should_skip_saving_checkpoint(trainer) or any(watch.suspects for watch in watches(trainer))

    def _monitor_candidates(self, trainer: L.Trainer) -> dict[str, Tensor]:
        images_seen = getattr(trainer.lightning_module, "images_seen", 0)
        return super()._monitor_candidates(trainer) | {"images_seen": torch.tensor(float(images_seen))}


def watches(trainer: L.Trainer) -> list[CollapseWatch]:
    """Return the trainer's collapse watches."""
    return [callback for callback in cast(Any, trainer).callbacks if isinstance(callback, CollapseWatch)]
