"""Features of sets of images, made once."""

from __future__ import annotations

import torch

from condgen.data import Fit, ImageSource
from condgen.metrics.base import Features
from condgen.metrics.evaluator import Evaluator
from condgen.metrics.feature_cache import FeatureCache
from condgen.types import Shape


def source_features(source: ImageSource, evaluator: Evaluator, fit: Fit, shape: Shape, cache: FeatureCache) -> Features:
    """Return the features of all images of a source, on the CPU, from the cache if they are there.

    Args:
        source: The images; `damaged` says afterwards which were left out, now or when the features were made.
        evaluator: Has the extractor.
        fit: What may be done to images of another shape.
        shape: The shape that is due.
        cache: Where features are kept.
    """
    key = cache.key(images=source.fingerprint, extractor=evaluator.extractor.sha256, **dependence(source, fit, shape))
    kept = cache.load(key)
    left_out = cache.load_scores(key) if kept is not None and source.skip_damaged else None
    if kept is not None and (left_out is not None or not source.skip_damaged):
        source.damaged = (left_out or {}).get("damaged", [])
        return kept
    features = extract(source, evaluator, fit, shape)
    cache.save(key, features)
    if source.skip_damaged:
        cache.save_scores(key, {"damaged": source.damaged})
    return features


def dependence(source: ImageSource, fit: Fit, shape: Shape) -> dict[str, object]:
    """Say what features depend on beside the content and the extractor; nothing where images are taken as they are."""
    out: dict[str, object] = {}
    if not source.uniform or source.shape != shape:
        out |= {"shape": list(shape), "resize": fit.resize, "pad": fit.pad, "grey": fit.grey}
    if source.reader:
        out["reader"] = source.reader
    if source.skip_damaged:
        out["skip_damaged"] = True
    return out


def extract(source: ImageSource, evaluator: Evaluator, fit: Fit, shape: Shape) -> Features:
    """Read all images and extract their features where the extractor is."""
    features, label = [], []
    for pixels, classes in source.batches(fit, shape):
        features.append(evaluator.extract(pixels.to(evaluator.extractor.device), None).features.cpu())
        label += [] if classes is None else [classes]
    return Features(torch.cat(features), torch.cat(label).long() if label else None)


def due_shape(real: ImageSource, fake: ImageSource, shape: Shape | None, fit: Fit) -> Shape:
    """Return the shape that the images of both sides must have.

    Args:
        real: Real images.
        fake: Samples.
        shape: What the extractor takes; null for colour of any size, which both sides must then share.
        fit: What may be done to images of another shape.

    Raises:
        ValueError: If there is no such shape, or `fit` asks for another one.
    """
    if shape is not None:
        if fit.size is not None and shape[1:] != (fit.size, fit.size):
            raise ValueError(f"images must become {shape[1]}x{shape[2]} for this extractor, not {fit.size}x{fit.size}")
        return shape
    if fit.size is not None:
        return 3, fit.size, fit.size
    sizes = [side.shape[1:] for side in (real, fake)]
    if sizes[0] != sizes[1]:
        (a, b), (c, d) = sizes
        raise ValueError(
            f"{real.name} is {a}x{b} and {fake.name} {c}x{d}, where one size is due; --resize {a} resamples"
        )
    return 3, *sizes[0]
