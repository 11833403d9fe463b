"""Bounds on the likelihood of a split's images, and how well they are reconstructed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import prod
from typing import Any

import lightning as L
import torch
from rich.console import Console
from torch import Tensor

from condgen.callbacks.run_folder import run_folder
from condgen.callbacks.score_report import add_to_report, score_table, shared_protocol
from condgen.metrics import ReconstructionError
from condgen.models import BoundsLikelihood, GenerativeModel, Reconstructs
from condgen.objectives import bits_per_dim
from condgen.pictures import grid, save_png
from condgen.pixels import to_uint8
from condgen.types import Batch

BITS = "bits/dim"
SUMS = ("count", "elbo", "iwae")


class EvaluateLikelihood(L.Callback):
    """Bounds the log-likelihood of a split's first images, for models that are `BoundsLikelihood`.

    During `fit` each validation logs `val/elbo`, by one latent variable per image. `validate` and `test` report the
    ELBO and the tighter bound of many samples (Burda et al. 2016) and, for models that are `Reconstructs`, the error
    of reconstructions in grey levels; `reconstructions.png` shows originals above reconstructions.

    Args:
        samples: Latent variables per image in `validate` and `test`.
        n_images: Number of images, the first of the split.
        shown: Number of images in the picture.
    """

    def __init__(self, samples: int = 64, n_images: int = 1000, shown: int = 10) -> None:
        super().__init__()
        for name, value in (("samples", samples), ("n_images", n_images), ("shown", shown)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.samples = samples
        self.n_images = n_images
        self.shown = shown
        self.result: dict[str, Any] | None = None
        self._start()

    def _start(self) -> None:
        self._sums = dict.fromkeys(SUMS, 0.0)
        self._error = ReconstructionError()
        self._pairs: list[tuple[Tensor, Tensor]] = []
        self._began = time.perf_counter()

    @staticmethod
    def score_name(bound: str, unit: str) -> str:
        """Name a bound's score: bits per dimension, where lower is better, are said in the name."""
        return f"{bound}_bits_per_dim" if unit == BITS else bound

    # ------------------------------------------------------------------ batches

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin anew."""
        self._start()

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin anew."""
        self._start()

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Bound the likelihood of the batch's images."""
        self._add(trainer, pl_module, batch)

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Bound the likelihood of the batch's images."""
        self._add(trainer, pl_module, batch)

    def _add(self, trainer: L.Trainer, model: L.LightningModule, batch: Batch) -> None:
        if trainer.sanity_checking or not isinstance(model, BoundsLikelihood):
            return
        rows = batch["index"] < self.n_images
        if not rows.any():
            return
        cond = {key: value[rows] for key, value in batch["cond"].items()}
        part: Batch = {"image": batch["image"][rows], "cond": cond, "index": batch["index"][rows]}
        fitting = trainer.state.fn == "fit"
        bounds = model.bounds(part, 1 if fitting else self.samples)
        self._sums["count"] += len(part["image"])
        for name, values in bounds.items():
            self._sums[name] += float(values.sum())
        if isinstance(model, Reconstructs) and not fitting:
            self._compare(to_uint8(part["image"]), to_uint8(model.reconstruct(part)))

    def _compare(self, original: Tensor, reconstruction: Tensor) -> None:
        self._error.to(original.device).update(reconstruction, original)
        missing = self.shown - sum(len(pair[0]) for pair in self._pairs)
        self._pairs.append((original[:missing].cpu(), reconstruction[:missing].cpu()))

    # ------------------------------------------------------------------ scores

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the bound on the validation split; outside `fit`, report all."""
        self._evaluate(trainer, pl_module, "validation", "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the bounds on the test split."""
        self._evaluate(trainer, pl_module, "test", "test")

    def _evaluate(self, trainer: L.Trainer, model: L.LightningModule, split: str, prefix: str) -> None:
        if trainer.sanity_checking or not (isinstance(model, GenerativeModel) and isinstance(model, BoundsLikelihood)):
            return
        mine = torch.tensor([self._sums[name] for name in SUMS], device=model.device)
        count, *sums = trainer.strategy.reduce(mine, reduce_op="sum").tolist()
        if not count:
            raise ValueError(f"no images of the {split} split to bound the likelihood of")
        fitting = trainer.state.fn == "fit"
        elbo, iwae = (total / count for total in sums)
        bounds = {"elbo": elbo} if fitting else {"elbo": elbo, f"iwae_{self.samples}": iwae}
        scores = bound_rows(bounds, model.likelihood_unit, prod(model.image_shape))
        if isinstance(model, Reconstructs) and not fitting:
            error = self._error.to(model.device)  # a process without images has not moved it yet
            scores |= reconstruction_rows(error.compute())
        values = {f"{prefix}/{name}": row["value"] for name, row in scores.items()}
        model.log_metrics(values)
        model.log_dict(values, logger=False, rank_zero_only=False)
        if fitting:
            line = "  ".join(f"{name} {row['value']:.3f} ({row['unit']})" for name, row in scores.items())
            model.print(f"{split} at {model.images_seen:,} images  {line}")
        else:
            self._report(trainer, model, split, scores, int(count))

    def _report(
        self, trainer: L.Trainer, model: GenerativeModel, split: str, scores: dict[str, Any], count: int
    ) -> None:
        seconds = round(time.perf_counter() - self._began, 3)
        card = {"n_images": count, "samples": self.samples, "seconds": seconds}
        shared = shared_protocol(trainer, model, split)
        self.result = {"scores": scores, "protocol": {**shared, "likelihood": card}}
        folder = run_folder(trainer)
        if not trainer.is_global_zero:
            return
        add_to_report(folder, self.result, shared)
        Console().print(score_table(scores, f"{count} {split} images, {self.samples} latent variables each"))
        if self._pairs:
            originals, reconstructions = (torch.cat(side) for side in zip(*self._pairs, strict=True))
            picture = grid(torch.cat([originals, reconstructions]), columns=len(originals))
            save_png(picture, folder / "reconstructions.png")


def bound_rows(bounds: Mapping[str, float], unit: str, dims: int) -> dict[str, dict[str, Any]]:
    """Make rows of bounds in nats per image, turned into bits per dimension where that is the unit."""
    rows = {}
    for name, nats in bounds.items():
        value, better = (bits_per_dim(nats, dims), "lower") if unit == BITS else (nats, "higher")
        rows[EvaluateLikelihood.score_name(name, unit)] = {"value": value, "better": better, "unit": unit}
    return rows


def reconstruction_rows(errors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Make rows of the errors of reconstructions."""
    units = {"reconstruction_mse": ("lower", "squared grey levels"), "reconstruction_psnr": ("higher", "dB")}
    return {
        name: {"value": float(errors[name]), "better": better, "unit": unit} for name, (better, unit) in units.items()
    }
