"""Scores of samples against the real images of a split."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from rich.console import Console
from torch import Tensor

from condgen.callbacks.run_folder import run_folder
from condgen.callbacks.score_report import add_to_report, score_table, shared_protocol
from condgen.data import ImageDataModule
from condgen.metrics import ClassifierExtractor, Evaluator, Features, Score, classification_accuracy_score
from condgen.models import GenerativeModel
from condgen.pixels import to_uint8
from condgen.seeding import generator, share
from condgen.types import Batch, Condition

EvaluationSplit = Literal["validation", "test"]


class EvaluateSamples(L.Callback):
    """Draws samples in `validate` and `test`, and during `fit` at each validation, and scores them.

    Classes are asked for uniformly, sample i with seed `first_seed + i`. The same scores of random training images,
    as many as there are samples if the split has them, stand beside as what a perfect generator would get.

    Args:
        extractor: Turns uint8 images into features; null for no scores.
        n_samples: Number of samples.
        subset_size: Images per draw of precision, recall, density and coverage; null for as many as are real.
        first_seed: Seed of the first sample.
        raw: In `validate` and `test`, sample with the raw weights though there are averaged ones.
        reference: In `validate` and `test`, score training images too.
        cas: In `validate` and `test`, train the extractor's net from scratch on the samples and report its accuracy on
            the split (Ravuri & Vinyals 2019). Takes minutes, in the first process.
    """

    def __init__(
        self,
        extractor: ClassifierExtractor | None = None,
        n_samples: int = 5000,
        subset_size: int | None = None,
        first_seed: int = 0,
        raw: bool = False,
        reference: bool = True,
        cas: bool = False,
    ) -> None:
        super().__init__()
        if n_samples < 2:
            raise ValueError(f"n_samples must be at least 2, got {n_samples}")
        self.evaluator = Evaluator(extractor, subset_size) if extractor is not None else None
        self.n_samples = n_samples
        self.first_seed = first_seed
        self.raw = raw
        self.reference = reference
        self.cas = cas
        self.result: dict[str, Any] | None = None
        self._real: dict[str, list[Features]] = {}
        self._complete: set[str] = set()
        self._reference: dict[str, dict[str, Score]] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forget the real images of an earlier run, and choose the weights that sample."""
        if isinstance(pl_module, GenerativeModel):
            pl_module.raw = self.raw and stage in ("validate", "test")
        self._real.clear()
        self._complete.clear()
        self._reference.clear()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Let the model sample with its averaged weights again."""
        if isinstance(pl_module, GenerativeModel):
            pl_module.raw = False

    # ------------------------------------------------------------------ real images, once per split

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Extract the features of real images."""
        self._add_real("validation", trainer, batch)

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Extract the features of real images."""
        self._add_real("test", trainer, batch)

    def _add_real(self, split: str, trainer: L.Trainer, batch: Batch) -> None:
        if self.evaluator is None or trainer.sanity_checking or split in self._complete:
            return
        self._real.setdefault(split, []).append(self._extract(to_uint8(batch["image"]), batch["cond"]))

    def _extract(self, pixels: Tensor, cond: Condition) -> Features:
        """Extract features where the images are; on the CPU for Apple's GPU, which has no float64 for the scores."""
        assert self.evaluator is not None
        device = torch.device("cpu") if pixels.device.type == "mps" else pixels.device
        self.evaluator.extractor.to(device)
        label = cond.get("label")
        return self.evaluator.extract(pixels.to(device), None if label is None else label.to(device))

    # ------------------------------------------------------------------ samples

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score samples against the validation split."""
        self._evaluate(trainer, pl_module, "validation", "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score samples against the test split."""
        self._evaluate(trainer, pl_module, "test", "test")

    def _evaluate(self, trainer: L.Trainer, model: L.LightningModule, split: EvaluationSplit, prefix: str) -> None:
        evaluator = self.evaluator
        if evaluator is None or trainer.sanity_checking or not isinstance(model, GenerativeModel):
            return
        if split not in self._real:
            raise ValueError(f"no real images of the {split} split to compare samples with")
        self._complete.add(split)
        real, start = join(self._real[split]), time.perf_counter()
        index = share(self.n_samples, trainer.global_rank, trainer.world_size)
        cond = self.conditions(model, index)
        pixels = to_uint8(model.sample(cond, seeds=index + self.first_seed))
        scores = evaluator.score(real, self._extract(pixels, cond)).scores
        seconds = time.perf_counter() - start
        values = {f"{prefix}/{name}": score.value for name, score in scores.items()}
        model.log_metrics(values)
        model.log_dict(values, logger=False, rank_zero_only=False)
        if trainer.state.fn == "fit":
            line = "  ".join(f"{name} {score.value:.3f}" for name, score in scores.items())
            model.print(f"{split} at {model.images_seen:,} images  {line}")
        if trainer.state.fn in ("validate", "test"):
            protocol = self._protocol(trainer, model, split, seconds)
            scores |= self._train_on(trainer, split, pixels, cond)
            reference = self._score_training_images(trainer, split, real, model.device) if self.reference else {}
            self.result = self._result(scores, reference, protocol)
            self._report(run_folder(trainer), trainer.is_global_zero, shared_protocol(trainer, model, split))

    def conditions(self, model: GenerativeModel, index: Tensor) -> Condition:
        """Return the conditions of samples `index` (N,): the classes in turn."""
        if "label" not in model.cond_spec:
            return {}
        return {"label": index % len(model.cond_spec["label"]["names"])}

    def _score_training_images(
        self, trainer: L.Trainer, split: EvaluationSplit, real: Features, device: torch.device
    ) -> dict[str, Score]:
        """Score random training images in place of samples; once per split."""
        data = getattr(trainer, "datamodule", None)
        if self.evaluator is None or not isinstance(data, ImageDataModule):
            return {}
        if split not in self._reference:
            train = data.images("train")
            chosen = torch.randperm(len(train), generator=generator("reference"))[: self.n_samples]
            rows = train.take(chosen[share(len(chosen), trainer.global_rank, trainer.world_size)])
            pixels = rows.pixels.to(device)
            scores = self.evaluator.score(real, self._extract(pixels, rows.cond)).scores
            self._reference[split] = scores | self._train_on(trainer, split, pixels, rows.cond)
        return self._reference[split]

    def _train_on(
        self, trainer: L.Trainer, split: EvaluationSplit, pixels: Tensor, cond: Condition
    ) -> dict[str, Score]:
        """Return the classification accuracy score of all processes' uint8 images, if it is asked for."""
        data = getattr(trainer, "datamodule", None)
        if not self.cas or self.evaluator is None:
            return {}
        if not isinstance(data, ImageDataModule) or "label" not in cond:
            raise ValueError("evaluation.cas needs one of condgen's data modules, with labels")
        real, net = data.images(split), self.evaluator.extractor.new_net
        images = pixels, cond["label"].to(pixels.device)
        if trainer.world_size > 1:
            images = gathered(images[0], trainer.world_size), gathered(images[1], trainer.world_size)
        value = 0.0
        if trainer.is_global_zero:
            truth = real.pixels.to(pixels.device), real.cond["label"].to(pixels.device)
            classes = self.evaluator.extractor.num_classes
            value = classification_accuracy_score(*images, *truth, num_classes=classes, net=net)
        return {"cas": Score(float(trainer.strategy.broadcast(value)), "higher")}

    # ------------------------------------------------------------------ report

    def _result(
        self, scores: dict[str, Score], reference: dict[str, Score], protocol: dict[str, Any]
    ) -> dict[str, Any]:
        rows = {}
        for name, score in scores.items():
            rows[name] = {"value": score.value, "better": score.better}
            if name in reference:
                rows[name]["training_images"] = reference[name].value
        return {"scores": rows, "protocol": protocol}

    def _protocol(self, trainer: L.Trainer, model: GenerativeModel, split: str, seconds: float) -> dict[str, Any]:
        assert self.evaluator is not None
        data = getattr(trainer, "datamodule", None)
        n_training_images = len(data.images("train")) if isinstance(data, ImageDataModule) else 0
        mine = torch.tensor(sum(len(part.features) for part in self._real[split]), device=model.device)
        return {
            **shared_protocol(trainer, model, split),
            "n_real": int(trainer.strategy.reduce(mine, reduce_op="sum")),
            "n_samples": self.n_samples,
            "n_training_images": min(self.n_samples, n_training_images),
            "classes": "uniform" if "label" in model.cond_spec else None,
            "seeds": [self.first_seed, self.first_seed + self.n_samples - 1],
            **self.evaluator.protocol,
            "seconds": round(seconds, 3),
        }

    def _report(self, folder: Path, write: bool, shared: dict[str, Any]) -> None:
        if not write or self.result is None:
            return
        add_to_report(folder, self.result, shared)
        protocol = self.result["protocol"]
        title = f"{protocol['n_samples']} samples against {protocol['n_real']} {protocol['split']} images"
        Console().print(score_table(self.result["scores"], title))


def join(parts: list[Features]) -> Features:
    """Concatenate features and labels."""
    labels = [part.label for part in parts if part.label is not None]
    return Features(torch.cat([part.features for part in parts]), torch.cat(labels) if labels else None)


def gathered(mine: Tensor, world_size: int) -> Tensor:
    """Concatenate the rows of all processes, which may hold different numbers of them, in the order of the ranks."""
    parts: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(parts, mine.cpu())
    return torch.cat(parts).to(mine.device)
