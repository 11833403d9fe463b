"""Pictures of the same seeds again and again while a model learns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.callbacks.real_images import data_of
from condgen.callbacks.run_folder import run_folder
from condgen.data.describe import words
from condgen.interrupts import interrupts
from condgen.models import GenerativeModel
from condgen.models.asking import ask, classes_in_turn, draw
from condgen.pictures import coloured, grid, save_png
from condgen.pixels import PICTURES, to_uint8
from condgen.types import Condition, CondSpec

MOST_IMAGES = 10_000
"""Of one grid: more take minutes to draw and make a picture that nothing shows."""


class SampleGrid(L.Callback):
    """Writes a grid to `samples/images-<images seen>.png` and to every logger that takes pictures.

    Columns are seeds 0, 1, ... Rows are classes; other conditions are those of the first validation images in an order
    of their own, with what they show as pictures, and the real image, before the samples, and what they say in
    `samples/rows.txt`. Without conditions all images differ by their seed alone.

    Args:
        every_n_images: Images seen between two grids; the end of training always gives one.
        columns: Number of seeds.
        max_rows: Largest number of classes, or conditions, shown.
    """

    def __init__(self, every_n_images: int = 20_000, columns: int = 8, max_rows: int = 16) -> None:
        super().__init__()
        if min(every_n_images, columns, max_rows) < 1:
            raise ValueError("SampleGrid needs every_n_images, columns and max_rows of at least 1")
        if columns * max_rows > MOST_IMAGES:
            raise ValueError(
                f"grid.columns {columns} times grid.max_rows {max_rows} must be at most {MOST_IMAGES:,} images"
            )
        self.every_n_images = every_n_images
        self.columns = columns
        self.max_rows = max_rows
        self._owed = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the grid that was given up when the run was left."""
        if self._owed and isinstance(pl_module, GenerativeModel):
            self.draw(trainer, pl_module)

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
        """Sample, write the file, and hand the picture to the loggers; give up if the run is about to be left."""
        folder = run_folder(trainer)
        if not trainer.is_global_zero:
            return
        if model.at_window_end:
            self._owed = not interrupts.attempt(lambda: self._draw(trainer, model, folder))
        else:
            self._draw(trainer, model, folder)

    def _draw(self, trainer: L.Trainer, model: GenerativeModel, folder: Path) -> None:
        if classes_in_turn(model):
            picture, rows = self._of_classes(model)
        else:
            picture, rows = self._of_rows(trainer, model, folder)
        path = save_png(picture, folder / "samples" / f"images-{model.images_seen:09d}.png")
        for logger in trainer.loggers:
            log_picture(logger, picture, path, caption(rows, self.columns), model.images_seen)

    def _of_classes(self, model: GenerativeModel) -> tuple[Tensor, list[str]]:
        cond, seeds = grid_conditions(model, range(self.columns), self.max_rows)
        asked = {key: value[:: self.columns] for key, value in cond.items()}
        rows = ["; ".join(row) for row in words(asked, len(seeds) // self.columns, model.cond_spec)]
        return grid(to_uint8(model.sample(cond, seeds=seeds)), self.columns), rows

    def _of_rows(self, trainer: L.Trainer, model: GenerativeModel, folder: Path) -> tuple[Tensor, list[str]]:
        data = data_of(trainer)
        split = data.images("validation")
        count = min(self.max_rows, len(split))
        asked = ask(model, torch.arange(count), lambda: split)
        repeated = {key: value.repeat_interleave(self.columns, 0) for key, value in asked.cond.items()}
        samples = draw(model, repeated, torch.arange(self.columns).repeat(count)).cpu()
        lines = ["; ".join(row) for row in words(asked.cond, count, data.cond_spec)]
        if any(lines):
            (folder / "samples").mkdir(parents=True, exist_ok=True)
            (folder / "samples" / "rows.txt").write_text("\n".join(lines) + "\n")
        assert asked.target is not None
        before = [*shown(asked.cond, data.cond_spec), asked.target]
        size = samples.shape[-2:]
        left = [F.interpolate(colour(x).float(), size=size, mode="nearest").to(torch.uint8) for x in before]
        rows = torch.cat([torch.stack(left, 1), colour(samples).unflatten(0, (count, -1))], dim=1)
        return grid(rows.flatten(0, 1), rows.shape[1]), lines

    def state_dict(self) -> dict[str, bool]:
        """Return whether a grid is still to be drawn."""
        return {"owed": self._owed}

    def load_state_dict(self, state_dict: dict[str, bool]) -> None:
        """Go on from a state."""
        self._owed = state_dict["owed"]


def shown(cond: Condition, cond_spec: CondSpec) -> list[Tensor]:
    """Return the conditions that are pictures, and masks in colours, uint8 (N, C, h, w)."""
    pictures = [cond[key] for key in PICTURES if key in cond]
    return pictures + ([coloured(cond["mask"], cond_spec["mask"]["num_classes"])] if "mask" in cond else [])


def colour(pixels: Tensor) -> Tensor:
    """Show grey images as colour."""
    return pixels.expand(-1, 3, -1, -1)


def grid_conditions(model: GenerativeModel, seeds: range, max_rows: int) -> tuple[Condition, Tensor]:
    """Return conditions and seeds of a grid, row by row: one class a row, one seed a column.

    Of a model that is asked for no class it is one row.
    """
    if "label" not in model.condition_keys:
        return {}, torch.tensor(seeds)
    num_rows = min(max_rows, len(model.cond_spec["label"]["names"]))
    label = torch.arange(num_rows).repeat_interleave(len(seeds))
    return {"label": label}, torch.tensor(seeds).repeat(num_rows)


def caption(rows: list[str], columns: int) -> str:
    """Say what the rows of a grid were asked for, and which seeds its columns are."""
    said = f"rows: {' | '.join(rows)}; " if any(rows) else ""
    return f"{said}columns: seeds 0 to {columns - 1}"


def log_picture(logger: Any, picture: Tensor, path: Path, caption: str, images_seen: int) -> None:
    """Hand a picture to a logger of Weights & Biases' or of TensorBoard's kind; others take none."""
    if hasattr(logger, "log_image"):
        logger.log_image("samples", [str(path)], step=images_seen, caption=[caption])
    elif hasattr(getattr(logger, "experiment", None), "add_image"):
        logger.experiment.add_image("samples", picture, images_seen)
