"""Scores of sets of images: their features against those of real images."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from condgen import __version__
from condgen.data import Fit, ImageSource, LoadedImages, SplitImages
from condgen.metrics.base import Features
from condgen.metrics.evaluator import Evaluation, Evaluator, Part
from condgen.metrics.extractors import Extractor
from condgen.metrics.feature_cache import FeatureCache
from condgen.metrics.floors import FLOOR_DRAWS, Floor, floor_draws, floors
from condgen.metrics.memorisation import training_images
from condgen.metrics.shared_classes import Labelled, share_classes
from condgen.metrics.source_features import due_shape, extract, source_features


def score_sets(
    real: ImageSource, fake: ImageSource, evaluator: Evaluator, train: ImageSource | None, fit: Fit, floor: bool
) -> Part:
    """Extract features once, and score them; see `evaluate`.

    Raises:
        ValueError: If images are damaged or do not fit, classes are unknown, or there are too few images.
    """
    if train is not None and train.fingerprint == real.fingerprint:
        raise ValueError(f"{train.name} is what samples are compared with; memorisation needs real images held out")
    extractor, cache = evaluator.extractor, FeatureCache()
    shape = due_shape(real, fake, extractor.image_shape, fit)
    drawn = extract(fake, evaluator, fit, shape)
    truth, samples, names, warnings = matched(
        real, fake, source_features(real, evaluator, fit, shape, cache), drawn, evaluator
    )
    known = (
        None if train is None else training_features(source_features(train, evaluator, fit, shape, cache), extractor)
    )
    result = evaluator.score(truth, samples, train=known, intervals=True)
    damage = [f"left out: {side.damage()}" for side in (real, fake, train) if side is not None and side.damaged]
    return Part(
        Evaluation(
            result.scores,
            {"names": names, **result.per_class} if result.per_class else {},
            damage + warnings + result.warnings,
        ),
        measure_floors(real, truth, len(samples.features), evaluator) if floor else {},
        {
            **({} if train is None or known is None else {"train": training_card(train, known)}),
            "n_real": len(truth.features),
            "n_samples": len(samples.features),
            "device": samples.features.device.type,
            **evaluator.protocol,
            "resize": fit.describe(),
        },
    )


class Matched(NamedTuple):
    """Features where the extractor is, their labels in one numbering with its names, and what a reader must know."""

    real: Features
    fake: Features
    names: list[str]
    warnings: list[str]


def matched(real: ImageSource, fake: ImageSource, truth: Features, samples: Features, evaluator: Evaluator) -> Matched:
    """Bring both sides' labels and the extractor's classes together; those of real images go where a class is rare."""
    classes = share_classes(
        Labelled(real.name, truth.label, real.class_names), Labelled(fake.name, samples.label, fake.class_names)
    )
    warnings = list(classes.warnings)
    if classes.fake is not None:
        numbered = real.class_names is None and fake.class_names is None
        warnings += evaluator.match_classes(classes.names, numbered=numbered)
    by_class = classes.fake is not None and not classes.warnings
    return Matched(
        to_device(evaluator.extractor, truth.features, classes.real if by_class else None),
        to_device(evaluator.extractor, samples.features, classes.fake),
        classes.names,
        warnings,
    )


def to_device(extractor: Extractor, features: Tensor, label: Tensor | None) -> Features:
    """Move features and labels to where the extractor is."""
    return Features(features.to(extractor.device), None if label is None else label.to(extractor.device))


def training_features(features: Features, extractor: Extractor) -> Features:
    """Choose the training images that samples are compared with."""
    return to_device(extractor, features.features[training_images(len(features.features))], None)


def training_card(train: ImageSource, features: Features) -> dict[str, Any]:
    """Say which images the generator is taken to have been trained on."""
    card = {"data": train.card["data"], "split": train.card["split"], "fingerprint": train.fingerprint}
    return {**card, "n": len(features.features)}


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
    rows, pool = [], training_images(len(train))
    for chosen in floor_draws(len(pool), n):
        images = train.images.take(pool[chosen])
        features, label = evaluator.extract(images.pixels.to(truth.features.device), images.cond.get("label"))
        enough = label is not None and truth.label is not None and enough_of_each(label, truth.label)
        against = truth if enough else Features(truth.features, None)
        drawn = to_device(evaluator.extractor, features, label)
        rows.append({name: score.value for name, score in evaluator.score(against, drawn).scores.items()})
    return rows


def enough_of_each(label: Tensor, all_labels: Tensor) -> bool:
    """Return whether each class has the two images without which it cannot be scored by itself."""
    return int(label.bincount(minlength=int(all_labels.max()) + 1).min()) >= 2
