"""Scores of samples against the real images of a split."""

from __future__ import annotations

import time
from typing import Any, Literal, NamedTuple

import lightning as L
import torch
from rich.console import Console
from torch import Tensor

from condgen.callbacks.real_images import RealImages
from condgen.callbacks.run_folder import run_folder
from condgen.callbacks.score_report import add_to_report, score_table, shared_protocol
from condgen.callbacks.training_time import TrainingTime
from condgen.metrics import Evaluation, Evaluator, Extractor, Score, classification_accuracy_score, score_rows
from condgen.metrics.floors import FLOOR_DRAWS
from condgen.models import GenerativeModel
from condgen.pixels import to_uint8
from condgen.seeding import generator, share
from condgen.types import Condition

EvaluationSplit = Literal["validation", "test"]


class Samples(NamedTuple):
    """Samples of one process, uint8 (N, C, H, W), with their conditions, and how long it took to draw them."""

    pixels: Tensor
    cond: Condition
    seconds: float


class EvaluateSamples(L.Callback):
    """Draws samples in `validate` and `test`, and during `fit` at each validation, and scores them.

    Classes are asked for uniformly, sample i with seed `first_seed + i`. `validate` and `test` add a 95% interval to
    each score, and its floor: the same score of random training images in place of the samples.

    Args:
        extractor: Turns uint8 images into features; null for no scores.
        n_samples: Number of samples.
        subset_size: Images per draw of precision, recall, density and coverage; null for as many as are real.
        first_seed: Seed of the first sample.
        raw: In `validate` and `test`, sample with the raw weights though there are averaged ones.
        floor: In `validate` and `test`, score training images too.
        cas: In `validate` and `test`, train the extractor's net from scratch on the samples and report its accuracy on
            the split (Ravuri & Vinyals 2019), with an interval for the draw of the split. Takes minutes, in the first
            process.
    """

    def __init__(
        self,
        extractor: Extractor | None = None,
        n_samples: int = 5000,
        subset_size: int | None = None,
        first_seed: int = 0,
        raw: bool = False,
        floor: bool = True,
        cas: bool = False,
    ) -> None:
        super().__init__()
        if n_samples < 2:
            raise ValueError(f"n_samples must be at least 2, got {n_samples}")
        self.evaluator = Evaluator(extractor, subset_size) if extractor is not None else None
        self.n_samples = n_samples
        self.first_seed = first_seed
        self.raw = raw
        self.floor = floor
        self.cas = cas
        self.result: dict[str, Any] | None = None
        self._real: RealImages | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forget the real images of an earlier run, and choose the weights that sample."""
        if isinstance(pl_module, GenerativeModel):
            pl_module.raw = self.raw and stage in ("validate", "test")
        self._real = None

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Let the model sample with its averaged weights again."""
        if isinstance(pl_module, GenerativeModel):
            pl_module.raw = False

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score samples against the validation split."""
        self._evaluate(trainer, pl_module, "validation", "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score samples against the test split."""
        self._evaluate(trainer, pl_module, "test", "test")

    # ------------------------------------------------------------------ samples and their scores

    def _evaluate(self, trainer: L.Trainer, model: L.LightningModule, split: EvaluationSplit, prefix: str) -> None:
        if self.evaluator is None or trainer.sanity_checking or not isinstance(model, GenerativeModel):
            return
        fitting, start = trainer.state.fn == "fit", time.perf_counter()
        self._real = real = self._real or RealImages(self.evaluator, trainer)
        samples = self._sample(trainer, model)
        fake = real.extract(samples.pixels, samples.cond)
        train = None if fitting else real.features("train")
        evaluation = self.evaluator.score(real.features(split), fake, train=train, intervals=not fitting)
        seconds = time.perf_counter() - start
        values = {f"{prefix}/{name}": score.value for name, score in evaluation.scores.items()}
        model.log_metrics(values)
        model.log_dict(values, logger=False, rank_zero_only=False)
        if fitting:
            line = "  ".join(f"{name} {score.value:.3f}" for name, score in evaluation.scores.items())
            model.print(f"{split} at {model.images_seen:,} images  {line}")
        else:
            self._report(real, model, split, samples, evaluation, seconds)

    def _sample(self, trainer: L.Trainer, model: GenerativeModel) -> Samples:
        start = time.perf_counter()
        index = share(self.n_samples, trainer.global_rank, trainer.world_size)
        cond = self.conditions(model, index)
        pixels = to_uint8(model.sample(cond, seeds=index + self.first_seed))
        return Samples(pixels, cond, time.perf_counter() - start)

    def conditions(self, model: GenerativeModel, index: Tensor) -> Condition:
        """Return the conditions of samples `index` (N,): the classes in turn."""
        if "label" not in model.cond_spec:
            return {}
        return {"label": index % len(model.cond_spec["label"]["names"])}

    def _train_on(self, real: RealImages, split: EvaluationSplit, pixels: Tensor, cond: Condition) -> Score:
        """Return the classification accuracy score of all processes' uint8 images."""
        if "label" not in cond:
            raise ValueError("evaluation.cas needs images with labels")
        images = real.gather(pixels), real.gather(cond["label"].to(pixels.device))
        score: Score | None = None
        if real.trainer.is_global_zero:
            truth = real.data.images(split).all()
            there = truth.pixels.to(pixels.device), truth.cond["label"].to(pixels.device)
            classes = len(real.data.cond_spec["label"]["names"])
            score = classification_accuracy_score(
                *images, *there, num_classes=classes, net=real.evaluator.extractor.new_net
            )
        score = real.trainer.strategy.broadcast(score)
        assert score is not None
        return score

    # ------------------------------------------------------------------ report

    def _report(
        self,
        real: RealImages,
        model: GenerativeModel,
        split: EvaluationSplit,
        samples: Samples,
        evaluation: Evaluation,
        seconds: float,
    ) -> None:
        scores = dict(evaluation.scores)
        if self.cas:
            scores["cas"] = self._train_on(real, split, *samples[:2])
        floors = self._floors(real, split) if self.floor else {}
        protocol = self._protocol(real, model, split, seconds)
        self.result = {
            "scores": score_rows(scores, floors),
            "per_class": self._per_class(model, evaluation),
            "warnings": [*real.warnings, *evaluation.warnings],
            "cost": self._cost(real.trainer, model, samples),
            "protocol": protocol,
        }
        folder = run_folder(real.trainer)
        if not real.trainer.is_global_zero:
            return
        add_to_report(folder, self.result, shared_protocol(real.trainer, model, split))
        title = f"{self.n_samples} samples against {protocol['n_real']} {split} images"
        Console().print(score_table(self.result["scores"], title))
        for line in self.result["warnings"]:
            print(f"warning: {line}")

    def _floors(self, real: RealImages, split: EvaluationSplit) -> dict[str, dict[str, float]]:
        """Score training images in place of samples."""
        floors = real.floor(split, self.n_samples, FLOOR_DRAWS)
        if not self.cas:
            return floors

        def measure() -> dict[str, dict[str, float]]:
            train = real.data.images("train")
            chosen = torch.randperm(len(train), generator=generator("floor", 0))[: self.n_samples]
            images = train.take(chosen[share(len(chosen), real.trainer.global_rank, real.trainer.world_size)])
            trained_on = self._train_on(real, split, images.pixels.to(real.device), images.cond)
            return {"cas": {"mean": trained_on.value, "sd": 0.0, "draws": 1}}

        return floors | real.kept_scores(measure, split, n=self.n_samples, protocol=real.evaluator.protocol, cas=True)

    def _per_class(self, model: GenerativeModel, evaluation: Evaluation) -> dict[str, Any]:
        if not evaluation.per_class:
            return {}
        return {"names": list(model.cond_spec["label"]["names"]), **evaluation.per_class}

    def _cost(self, trainer: L.Trainer, model: GenerativeModel, samples: Samples) -> dict[str, float | None]:
        clocks = [callback for callback in trainer.callbacks if isinstance(callback, TrainingTime)]  # type: ignore[attr-defined]
        return {
            "parameters": sum(value.numel() for value in model.sampling_net.parameters()),
            "training_seconds": clocks[0].training_seconds if clocks else None,
            "images_per_second": clocks[0].images_per_second if clocks else None,
            "sampling_ms_per_image": 1000 * samples.seconds / len(samples.pixels),
        }

    def _protocol(
        self, real: RealImages, model: GenerativeModel, split: EvaluationSplit, seconds: float
    ) -> dict[str, Any]:
        mine = torch.tensor(len(real.features(split).features), device=model.device)
        return {
            **shared_protocol(real.trainer, model, split),
            "data_fingerprint": real.data.fingerprint(split),
            "n_real": int(real.trainer.strategy.reduce(mine, reduce_op="sum")),
            "n_samples": self.n_samples,
            "classes": "uniform" if "label" in model.cond_spec else None,
            "seeds": [self.first_seed, self.first_seed + self.n_samples - 1],
            **real.evaluator.protocol,
            "seconds": round(seconds, 3),
        }
