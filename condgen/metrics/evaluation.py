"""Scores of any images against any others, with their protocol: what `metrics.json` holds, in one call."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch

from condgen import __version__
from condgen.data import Fit, ImageSource
from condgen.metrics.evaluator import Evaluator, Part, score_rows
from condgen.metrics.extractors import Extractor
from condgen.metrics.obedience import Obedience
from condgen.metrics.obedience_scores import score_samples
from condgen.metrics.set_scores import score_sets

MODEL = (
    "model",
    "ema",
    "sampler",
    "checkpoint",
    "weights_sha256",
    "run_seed",
    "images_seen",
    "conditions",
    "conditions_of",
    "classes",
    "seeds",
)
"""What a protocol says of samples that a model drew; null for images that came from elsewhere."""


def evaluate(
    real: ImageSource,
    fake: ImageSource,
    extractor: Extractor | None,
    *,
    obedience: Sequence[Obedience] = (),
    train: ImageSource | None = None,
    fit: Fit = Fit(),  # noqa: B008 - immutable
    subset_size: int | None = 2000,
    floor: bool = True,
) -> dict[str, Any]:
    """Score images as samples of what other images show, and as answers to what was asked, with 95% intervals.

    Args:
        real: Real images; their features are kept on disk, so that a second evaluation decodes none.
        fake: Samples.
        extractor: Turns uint8 images into features, on the device where it is; null for no scores of features.
        obedience: What is measured of each sample beside its condition, where the metric is.
        train: What the generator was trained on, other than `real`, for `memorisation`.
        fit: What may be done to images that have not the extractor's shape.
        subset_size: Images per draw of precision, recall, density and coverage; null for the smaller side's number.
        floor: Give each score its floor, if `real`, or the split that was asked for, is the validation or test split
            of a data module.

    Returns:
        `scores`, `per_class` where both sides have labels, `warnings`, `cost` where a model drew the samples, and
        `protocol`, in plain values.

    Raises:
        ValueError: If images are damaged or do not fit, classes are unknown, there are too few images, or what was
            asked for is not known.
    """
    start = time.perf_counter()
    parts: list[Part] = []
    if extractor is not None:
        parts.append(score_sets(real, fake, Evaluator(extractor, subset_size), train, fit, floor))
    if obedience:
        parts.append(score_samples(real, fake, obedience, floor))
    out, card = together(parts), protocol(real, fake)
    for part in parts:
        card |= part.protocol
    return {
        **out,
        **({"cost": fake.cost} if fake.cost else {}),
        "protocol": card | {"seconds": round(time.perf_counter() - start, 3)},
    }


def together(parts: Sequence[Part]) -> dict[str, Any]:
    """Put the scores, tables by class and warnings of all parts together."""
    rows: dict[str, Any] = {}
    tables: dict[str, list[Any]] = {}
    warnings: list[str] = []
    for found, floors, _ in parts:
        rows |= score_rows(found.scores, floors)
        tables |= {name: plain(table) for name, table in found.per_class.items()}
        warnings += found.warnings
    return {"scores": rows, **({"per_class": tables} if tables else {}), "warnings": warnings}


def protocol(real: ImageSource, fake: ImageSource) -> dict[str, Any]:
    """Say what was scored, on what, by which software."""
    return {
        "data": real.card["data"],
        "split": real.card["split"],
        "data_fingerprint": real.fingerprint,
        "samples": fake.name,
        "samples_fingerprint": fake.fingerprint,
        **{key: fake.card.get(key) for key in MODEL},
        "processes": 1,
        "threads": torch.get_num_threads(),
        "condgen": __version__,
        "torch": torch.__version__,
    }


def plain(table: list[Any]) -> list[Any]:
    """Write null for what a class has not, such as the accuracy of one without samples: JSON has no NaN."""
    return [None if isinstance(value, float) and not isfinite(value) else value for value in table]
