"""Files of predicted images."""

from __future__ import annotations

from collections.abc import Sequence
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
        folder = run_folder(trainer) / "predictions"
        for place, image in zip(batch["index"].tolist(), prediction, strict=True):
            save_png(image, folder / f"{place:05d}.png")
