"""Pictures of the same seeds again and again while a model learns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from condgen.callbacks.run_folder import run_folder
from condgen.models import GenerativeModel
from condgen.pictures import grid, save_png
from condgen.pixels import to_uint8
from condgen.types import Condition, CondSpec


class SampleGrid(L.Callback):
    """Writes a grid to `samples/images-<images seen>.png` and to every logger that takes pictures.

    Rows are classes and columns are seeds 0, 1, ...; without labels all images differ by their seed alone. A model that
    needs another condition gives no grid.

    Args:
        every_n_images: Images seen between two grids; the end of training always gives one.
        columns: Number of seeds.
        max_rows: Largest number of classes shown.
    """

    def __init__(self, every_n_images: int = 20_000, columns: int = 8, max_rows: int = 16) -> None:
        super().__init__()
        if min(every_n_images, columns, max_rows) < 1:
            raise ValueError("SampleGrid needs every_n_images, columns and max_rows of at least 1")
        self.every_n_images = every_n_images
        self.columns = columns
        self.max_rows = max_rows

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Draw a grid when another `every_n_images` are full."""
        model = pl_module
        if isinstance(model, GenerativeModel):
            before = model.images_seen - model.num_images(batch)
            if model.images_seen // self.every_n_images > before // self.every_n_images:
                self.draw(trainer, model)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the last grid."""
        if isinstance(pl_module, GenerativeModel):
            self.draw(trainer, pl_module)

    def draw(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        """Sample, write the file, and hand the picture to the loggers."""
        folder = run_folder(trainer)
        if not trainer.is_global_zero or not set(model.condition_keys) <= {"label"}:
            return
        cond, seeds = grid_conditions(model.cond_spec, range(self.columns), self.max_rows)
        picture = grid(to_uint8(model.sample(cond, seeds=seeds)), self.columns)
        path = save_png(picture, folder / "samples" / f"images-{model.images_seen:09d}.png")
        for logger in trainer.loggers:
            log_picture(logger, picture, path, model.images_seen)


def grid_conditions(cond_spec: CondSpec, seeds: range, max_rows: int) -> tuple[Condition, Tensor]:
    """Return conditions and seeds of a grid, row by row: one class a row, one seed a column."""
    if "label" not in cond_spec:
        return {}, torch.tensor(seeds)
    num_rows = min(max_rows, len(cond_spec["label"]["names"]))
    label = torch.arange(num_rows).repeat_interleave(len(seeds))
    return {"label": label}, torch.tensor(seeds).repeat(num_rows)


def log_picture(logger: Any, picture: Tensor, path: Path, images_seen: int) -> None:
    """Hand a picture to a logger of Weights & Biases' or of TensorBoard's kind; others take none."""
    if hasattr(logger, "log_image"):
        logger.log_image("samples", [str(path)], step=images_seen)
    elif hasattr(getattr(logger, "experiment", None), "add_image"):
        logger.experiment.add_image("samples", picture, images_seen)
