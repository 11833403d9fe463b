"""Scores of any images against any others, with their protocol: what `metrics.json` holds, in one call."""

from __future__ import annotations

import time
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from condgen import __version__
from condgen.data import Fit, ImageSource, LoadedImages, SplitImages
from condgen.metrics.base import Features
from condgen.metrics.evaluator import Evaluator, score_rows
from condgen.metrics.extractors import Extractor
from condgen.metrics.feature_cache import FeatureCache
from condgen.metrics.floors import FLOOR_DRAWS, Floor, floor_draws, floors
from condgen.metrics.shared_classes import Labelled, share_classes
from condgen.metrics.source_features import due_shape, extract, source_features

MODEL = ("model", "ema", "sampler", "checkpoint", "weights_sha256", "run_seed", "images_seen", "classes", "seeds")
"""What a protocol says of samples that a model drew; null for images that came from elsewhere."""


def evaluate(
    real: ImageSource,
    fake: ImageSource,
    extractor: Extractor,
    *,
    fit: Fit = Fit(),  # noqa: B008 - immutable
    subset_size: int | None = 2000,
    floor: bool = True,
) -> dict[str, Any]:
    """Score images as samples of what other images show, each score with its 95% interval.

    Args:
        real: Real images; their features are kept on disk, so that a second evaluation decodes none.
        fake: Samples.
        extractor: Turns uint8 images into features, on the device where it is.
        fit: What may be done to images that have not the extractor's shape.
        subset_size: Images per draw of precision, recall, density and coverage; null for the smaller side's number.
        floor: Give each score its floor, if `real` is the validation or test split of a data module.

    Returns:
        `scores`, `per_class` where both sides have labels, `warnings` and `protocol`, in plain values.

    Raises:
        ValueError: If images are damaged or do not fit, classes are unknown, or there are too few images.
    """
    start = time.perf_counter()
    evaluator = Evaluator(extractor, subset_size)
    shape = due_shape(real, fake, extractor.image_shape, fit)
    samples = extract(fake, evaluator, fit, shape)
    truth = source_features(real, evaluator, fit, shape, FeatureCache())
    classes = share_classes(
        Labelled(real.name, truth.label, real.class_names), Labelled(fake.name, samples.label, fake.class_names)
    )
    warnings = [f"left out: {side.damage()}" for side in (real, fake) if side.damaged]
    warnings += classes.warnings
    if classes.fake is not None:
        numbered = real.class_names is None and fake.class_names is None
        warnings += evaluator.match_classes(classes.names, numbered=numbered)
    by_class = classes.fake is not None and not classes.warnings
    truth = to_device(extractor, truth.features, classes.real if by_class else None)
    samples = to_device(extractor, samples.features, classes.fake)
    result = evaluator.score(truth, samples, intervals=True)
    least = measure_floors(real, truth, len(samples.features), evaluator) if floor else {}
    tables = {name: plain(table) for name, table in result.per_class.items()}
    return {
        "scores": score_rows(result.scores, least),
        **({"per_class": {"names": classes.names, **tables}} if tables else {}),
        "warnings": warnings + result.warnings,
        "protocol": {
            **protocol(real, fake),
            "n_real": len(truth.features),
            "n_samples": len(samples.features),
            "device": samples.features.device.type,
            **evaluator.protocol,
            "resize": fit.describe(),
            "seconds": round(time.perf_counter() - start, 3),
        },
    }


def to_device(extractor: Extractor, features: Tensor, label: Tensor | None) -> Features:
    """Move features and labels to where the extractor is."""
    device = extractor.device
    return Features(features.to(device), None if label is None else label.to(device))


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


def measure_floors(real: ImageSource, truth: Features, n: int, evaluator: Evaluator) -> dict[str, Floor]:
    """Score n random training images in place of samples, or look up what `condgen test` found for as many."""
    if not isinstance(real, SplitImages) or real.split == "train":
        return {}
    train, cache = SplitImages(real.module, "train"), FeatureCache()
    settings: dict[str, Any] = {
        "n": n,
        "draws": FLOOR_DRAWS,
        "protocol": evaluator.protocol,
        "scores": evaluator.score_names,
    }
    if truth.label is None:
        settings["by_class"] = False
    key = cache.key(images=[train.fingerprint, real.fingerprint], condgen=__version__, **settings)
    kept = cache.load_scores(key)
    if kept is None:
        kept = floors(draw_scores(train, truth, n, evaluator))
        cache.save_scores(key, kept)
    return kept


def draw_scores(train: LoadedImages, truth: Features, n: int, evaluator: Evaluator) -> list[dict[str, float]]:
    """Score each draw of training images; by class only where `truth` has labels and the draw has enough of each."""
    rows = []
    for chosen in floor_draws(len(train), n):
        images = train.images.take(chosen)
        features, label = evaluator.extract(images.pixels.to(truth.features.device), images.cond.get("label"))
        enough = label is not None and truth.label is not None and enough_of_each(label, truth.label)
        against = truth if enough else Features(truth.features, None)
        drawn = to_device(evaluator.extractor, features, label)
        rows.append({name: score.value for name, score in evaluator.score(against, drawn).scores.items()})
    return rows


def enough_of_each(label: Tensor, all_labels: Tensor) -> bool:
    """Return whether each class has the two images without which it cannot be scored by itself."""
    return int(label.bincount(minlength=int(all_labels.max()) + 1).min()) >= 2


def plain(table: list[Any]) -> list[Any]:
    """Write null for what a class has not, such as the accuracy of one without samples: JSON has no NaN."""
    return [None if isinstance(value, float) and not isfinite(value) else value for value in table]
