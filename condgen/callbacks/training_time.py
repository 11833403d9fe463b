"""What training took, evaluation left out: time, memory, and the size of its gradients."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import isfinite
from typing import Any

import lightning as L
import torch
from torch import Tensor

from condgen.models.recorded import RecordedModule


class TrainingTime(L.Callback):
    """Logs time, gradients and memory against images seen, as often as losses are logged.

    Seconds are those since training began, over all resumed parts, with data, grids and checkpoints but without
    validation. The rate is that of the images since the row before. Both are kept beside the model, never in it. Norms
    of gradients are those before clipping, of the players that took a step at that batch; `memory/peak_gib` is the most
    that tensors have taken on the GPU of the first process, in 2**30 bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._images = 0
        self._complete = True
        self._since: float | None = None
        self._paused = False
        self._logged = (0.0, 0)

    @property
    def training_seconds(self) -> float | None:
        """Seconds until now; null before the first, and where the checkpoint that training went on from has none."""
        return self._elapsed() if self._complete and self._images else None

    @property
    def images_per_second(self) -> float | None:
        """Images per second until now, of the part of training that was timed."""
        return self._images / self._elapsed() if self._images else None

    # ------------------------------------------------------------------ clock

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin, or go on; the beginning is missing where images were seen that were not timed."""
        if isinstance(pl_module, RecordedModule):
            self._complete = self._complete and self._images == pl_module.images_seen
            self._logged = (self._elapsed(), self._images)
            self._since = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock, once the device has done what it was given."""
        if self._since is not None:
            if pl_module.device.type != "cpu":
                torch.accelerator.synchronize(pl_module.device)
            self._halt()
            self._paused = True

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the clock run again."""
        if self._paused:
            self._since, self._paused = time.perf_counter(), False

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the images."""
        if isinstance(pl_module, RecordedModule):
            self._images += pl_module.num_images(batch)
            if pl_module.is_logged():
                self._log(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the end if that is yet to be done, and stop."""
        if isinstance(pl_module, RecordedModule) and not pl_module.is_logged():
            self._log(pl_module)
        self._halt()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Stop the clock."""
        self._halt()

    def _halt(self) -> None:
        self._seconds, self._since, self._paused = self._elapsed(), None, False

    def _elapsed(self) -> float:
        return self._seconds + (0.0 if self._since is None else time.perf_counter() - self._since)

    # ------------------------------------------------------------------ log, and resuming

    def _log(self, model: RecordedModule) -> None:
        seconds = self._elapsed()
        before, images = self._logged
        values: dict[str, float] = {"time/images_per_second": (self._images - images) / max(seconds - before, 1e-9)}
        if self._complete:
            values["time/seconds"] = seconds
        if model.device.type == "cuda":
            values["memory/peak_gib"] = torch.cuda.max_memory_allocated(model.device) / 2**30
        model.log_metrics(values | finite_norms(model))
        self._logged = (seconds, self._images)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run counts on from."""
        return {"seconds": self._elapsed(), "images": self._images, "complete": self._complete}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Count on from there."""
        self._seconds, self._images = state_dict["seconds"], state_dict["images"]
        self._complete = state_dict["complete"]


def finite_norms(model: RecordedModule) -> dict[str, float]:
    """Return the norms of the last batch's gradients; one that a loss scaler skips is not finite, and left out."""
    norms = model.gradient_norms
    values = torch.stack([*norms.values()]).tolist() if norms else []
    return {name: value for name, value in zip(norms, values, strict=True) if isfinite(value)}
