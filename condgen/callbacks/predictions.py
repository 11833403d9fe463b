"""Files of predicted images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter

from condgen.callbacks.run_folder import run_folder
from condgen.pictures import save_png
from condgen.types import Batch


class WritePredictions(BasePredictionWriter):
    """Writes each image of `predict` to `predictions/<place in the split>.png` as it is made."""

    def __init__(self) -> None:
        super().__init__(write_interval="batch")
        self._folder = Path()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Find the folder with all processes, of which each may have another number of batches."""
        self._folder = run_folder(trainer) / "predictions"

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write one batch."""
        for place, image in zip(batch["index"].tolist(), prediction, strict=True):
            save_png(image, self._folder / f"{place:05d}.png")
