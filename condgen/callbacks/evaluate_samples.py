"""Scores of samples against the real images of a split."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import lightning as L
from rich.console import Console

from condgen.callbacks.judges import FeatureJudge, Judge, ObedienceJudge
from condgen.callbacks.real_images import data_of
from condgen.callbacks.run_folder import run_folder
from condgen.callbacks.samples import Samples, draw_samples
from condgen.callbacks.score_report import add_to_report, score_table, shared_protocol
from condgen.callbacks.training_time import TrainingTime
from condgen.metrics import Evaluation, Evaluator, Extractor, Obedience, score_rows
from condgen.models import GenerativeModel

EvaluationSplit = Literal["validation", "test"]


class EvaluateSamples(L.Callback):
    """Draws samples in `validate` and `test`, and during `fit` at each validation, and scores them.

    Classes are asked for uniformly; other conditions are those of the split's images, in a fixed random order. Sample i
    has seed `first_seed + i`. `validate` and `test` add a 95% interval to each score, and its floor: the same score of
    random real images in place of the samples, of the training split for scores of features, else of the split.

    Args:
        extractor: Turns uint8 images into features; null for no scores of features.
        obedience: What is measured of each sample beside its condition.
        n_samples: Number of samples.
        subset_size: Images per draw of precision, recall, density and coverage; null for the smaller side's number.
        first_seed: Seed of the first sample.
        raw: In `validate` and `test`, sample with the raw weights though there are averaged ones.
        floor: In `validate` and `test`, score real images too.
        cas: In `validate` and `test`, train the extractor's net from scratch on the samples and report its accuracy on
            the split (Ravuri & Vinyals 2019), with an interval for the draw of the split. Takes minutes, in the first
            process.
    """

    def __init__(
        self,
        extractor: Extractor | None = None,
        obedience: Sequence[Obedience] = (),
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
        self.obedience = list(obedience)
        self.n_samples = n_samples
        self.first_seed = first_seed
        self.raw = raw
        self.floor = floor
        self.cas = cas
        self.result: dict[str, Any] | None = None
        self._judges: list[Judge] = []

    @property
    def better(self) -> dict[str, str]:
        """Whether `higher` or `lower` is better, by score."""
        found = dict(self.evaluator.better) if self.evaluator is not None else {}
        for metric in self.obedience:
            found |= metric.better
        return found

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forget the real images of an earlier run, and choose the weights that sample."""
        if isinstance(pl_module, GenerativeModel):
            pl_module.raw = self.raw and stage in ("validate", "test")
        self._judges = []

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
        nothing = self.evaluator is None and not self.obedience
        if nothing or trainer.sanity_checking or not isinstance(model, GenerativeModel):
            return
        fitting, start = trainer.state.fn == "fit", time.perf_counter()
        self._judges = self._judges or self._appoint(trainer)
        data = data_of(trainer)
        samples = draw_samples(trainer, model, self.n_samples, self.first_seed, lambda: data.images(split))
        found = Evaluation({}, {}, [])
        for judge in self._judges:
            scores, per_class, warnings = judge.score(samples, split, fitting=fitting)
            found.scores.update(scores)
            found.per_class.update(per_class)
            found.warnings.extend(warnings)
        seconds = time.perf_counter() - start
        values = {f"{prefix}/{name}": score.value for name, score in found.scores.items()}
        model.log_metrics(values)
        model.log_dict(values, logger=False, rank_zero_only=False)
        if fitting:
            line = "  ".join(f"{name} {score.value:.3f}" for name, score in found.scores.items())
            model.print(f"{split} at {model.images_seen:,} images  {line}")
        else:
            self._report(trainer, model, split, samples, found, seconds)

    def _appoint(self, trainer: L.Trainer) -> list[Judge]:
        judges: list[Judge] = []
        if self.evaluator is not None:
            judges.append(FeatureJudge(self.evaluator, trainer, self.cas))
        if self.obedience:
            judges.append(ObedienceJudge(self.obedience, trainer))
        return judges

    # ------------------------------------------------------------------ report

    def _report(
        self,
        trainer: L.Trainer,
        model: GenerativeModel,
        split: EvaluationSplit,
        samples: Samples,
        found: Evaluation,
        seconds: float,
    ) -> None:
        for judge in self._judges:
            found.scores.update(judge.further(samples, split))
        floors = [judge.floors(split, self.n_samples) for judge in self._judges] if self.floor else []
        shared = shared_protocol(trainer, model, split)
        protocol = shared | {
            "data_fingerprint": data_of(trainer).fingerprint(split),
            "n_samples": self.n_samples,
            "classes": "uniform" if model.condition_keys == ("label",) else None,
            "conditions": list(model.condition_keys),
            "seeds": [self.first_seed, self.first_seed + self.n_samples - 1],
        }
        for judge in self._judges:
            protocol |= judge.protocol(split)
        self.result = {
            "scores": score_rows(found.scores, {name: row for part in floors for name, row in part.items()}),
            "per_class": self._per_class(model, found),
            "warnings": found.warnings,
            "cost": self._cost(trainer, model, samples),
            "protocol": protocol | {"seconds": round(seconds, 3)},
        }
        folder = run_folder(trainer)
        if not trainer.is_global_zero:
            return
        add_to_report(folder, self.result, shared)
        against = f" against {protocol['n_real']} {split} images" if "n_real" in protocol else f", {split}"
        Console().print(score_table(self.result["scores"], f"{self.n_samples} samples{against}"))
        for line in found.warnings:
            print(f"warning: {line}")

    def _per_class(self, model: GenerativeModel, found: Evaluation) -> dict[str, Any]:
        return {"names": list(model.cond_spec["label"]["names"]), **found.per_class} if found.per_class else {}

    def _cost(self, trainer: L.Trainer, model: GenerativeModel, samples: Samples) -> dict[str, float | None]:
        clocks = [callback for callback in trainer.callbacks if isinstance(callback, TrainingTime)]  # type: ignore[attr-defined]
        return {
            "parameters": sum(value.numel() for value in model.sampling_net.parameters()),
            "training_seconds": clocks[0].training_seconds if clocks else None,
            "images_per_second": clocks[0].images_per_second if clocks else None,
            "sampling_ms_per_image": 1000 * samples.seconds / len(samples.pixels),
        }
