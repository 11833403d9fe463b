"""Whether a classifier's classes are those of the images, so that its answers can be compared with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from condgen.metrics.classification import LabelAccuracy
from condgen.metrics.extractors import Extractor

SHOWN = 12


class LabelClasses(NamedTuple):
    """How label accuracy is measured, null where it cannot be, and what a reader must know of it."""

    accuracy: LabelAccuracy | None
    warnings: list[str]


def label_classes(extractor: Extractor, names: Sequence[str], *, numbered: bool = False) -> LabelClasses:
    """Match the classes of images with those of an extractor by name.

    Args:
        extractor: Its classes may have no names: then they are taken to be the images' own, in their order.
        names: The classes of the images, in the order of their labels.
        numbered: The images have numbers alone, which become places among the extractor's classes.
    """
    known, count = extractor.class_names, extractor.num_classes
    if len(names) != count:
        return left_out(f"{count} classes", str(len(names)))
    if known is None:
        return LabelClasses(LabelAccuracy(extractor.logits, count), [])
    if numbered:
        line = f"label_accuracy takes numbers of classes as places among the extractor's: {listed(known)}"
        return LabelClasses(LabelAccuracy(extractor.logits, count), [line] if known != list(names) else [])
    if sorted(known) != sorted(names):
        return left_out(f"the classes {listed(known)}", listed(names))
    order = [known.index(name) for name in names]

    def logits(features: Tensor) -> Tensor:
        return extractor.logits(features)[:, order]

    return LabelClasses(LabelAccuracy(logits, count), [])


def left_out(known: str, given: str) -> LabelClasses:
    """Say why there is no label accuracy."""
    return LabelClasses(None, [f"label_accuracy is left out: the extractor knows {known}, and the images {given}"])


def listed(names: Sequence[str]) -> str:
    """List the first few names."""
    return ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
