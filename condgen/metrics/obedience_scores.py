"""Scores of obedience, what real images get, and what they depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from condgen.data import ImageSet, ImageSource, LoadedImages, SplitImages
from condgen.metrics.evaluator import Evaluation, Part, Score
from condgen.metrics.floors import Floor, floor_draws
from condgen.metrics.obedience import Obedience
from condgen.types import Condition


def obedience_scores(
    metrics: Sequence[Obedience], pixels: Tensor, cond: Condition, target: Tensor | None, *, intervals: bool
) -> dict[str, Score]:
    """Measure each of this process's samples once for each metric; the scores are those of all processes.

    Args:
        metrics: What is measured.
        pixels: uint8 (N, C, H, W).
        cond: What was asked for, as it is stored.
        target: The images that belong to the conditions, where there are some.
        intervals: Give each score its 95% interval.

    Raises:
        ValueError: If a metric compares with what was not asked for.
    """
    scores = {}
    for metric in metrics:
        values = measure(metric, pixels, cond, target)
        bounds = metric.intervals() if intervals else {}
        for name, value in values.items():
            scores[name] = Score(float(value), metric.better[name], *(float(end) for end in bounds.get(name, ())))
    return scores


def obedience_floors(metrics: Sequence[Obedience], images: ImageSet) -> dict[str, Floor]:
    """Measure one draw of real images beside their own conditions, where that says something."""
    found: dict[str, Floor] = {}
    for metric in metrics:
        if not metric.needs_target:
            values = measure(metric, images.pixels, images.cond, None)
            found |= {name: {"mean": float(value), "sd": 0.0, "draws": 1} for name, value in values.items()}
    return found


def obedience_card(metrics: Sequence[Obedience]) -> dict[str, Any]:
    """Say which metrics there are, and their settings."""
    settings = {key: value for metric in metrics for key, value in metric.settings.items()}
    return {"obedience": [type(metric).__name__ for metric in metrics], "quantisation": "uint8", **settings}


def score_samples(real: ImageSource, fake: ImageSource, metrics: Sequence[Obedience], floor: bool) -> Part:
    """Measure samples whose conditions are known, on the metrics' device; see `evaluate`.

    Raises:
        ValueError: If they are not known, or not what a metric compares with.
    """
    if not isinstance(fake, LoadedImages) or not fake.images.cond:
        names = ", ".join(type(metric).__name__ for metric in metrics)
        raise ValueError(f"{names} needs images whose conditions are known, such as samples of a run, not {fake.name}")
    pixels, device = fake.images.pixels, metrics[0].device
    scores = obedience_scores(metrics, pixels.to(device), fake.images.cond, fake.target, intervals=True)
    real_images = floor_images(fake.asked_of or real, len(pixels), device) if floor else None
    able = [m for m in metrics if real_images is not None and set(m.keys) <= real_images.cond.keys()]
    floors = {} if real_images is None else obedience_floors(able, real_images)
    return Part(
        Evaluation(scores, {}, []),
        floors,
        {"n_samples": len(pixels), "device": device.type, **obedience_card(metrics)},
    )


def floor_images(split: ImageSource, n: int, device: torch.device) -> ImageSet | None:
    """Choose n real images of a split, if it is one of a data module."""
    if not isinstance(split, SplitImages):
        return None
    images = split.stored()
    chosen = images.take(floor_draws(len(images), n, 1)[0])
    return ImageSet(chosen.pixels.to(device), chosen.cond)


def measure(metric: Obedience, pixels: Tensor, cond: Condition, target: Tensor | None) -> dict[str, Tensor]:
    """Return the values of one metric."""
    missing = next((key for key in metric.keys if key not in cond), None)
    if missing is not None:
        asked = ", ".join(cond) or "nothing"
        raise ValueError(f"{type(metric).__name__} compares with {missing!r}; samples are asked for {asked}")
    metric.reset()
    metric.update(pixels, cond, target)
    values: dict[str, Tensor] = metric.compute()
    return values
