"""Checks at the public doors; each error names the thing, its value and what would be right."""

from __future__ import annotations

import torch
from torch import Tensor

from condgen.types import Condition, CondSpec, Shape


def check_shape(image: Tensor, shape: Shape) -> None:
    """Refuse an image batch that is not (N, *shape) with N >= 1, naming what differs."""
    if image.ndim != 4 or tuple(image.shape[1:]) != tuple(shape) or len(image) == 0:
        raise ValueError(f"image must be (N, {', '.join(map(str, shape))}), got {tuple(image.shape)}")


def check_range(image: Tensor) -> None:
    """Refuse an image batch with a value that is not finite or lies outside [-1, 1]."""
    if not image.is_floating_point():
        raise ValueError(f"image must be floating point in [-1, 1], got {image.dtype}")
    low, high = (bound.item() for bound in torch.aminmax(image))
    if not (low >= -1.0 and high <= 1.0):  # a NaN fails both comparisons
        raise ValueError(f"image values must be finite and in [-1, 1], got [{low:.4g}, {high:.4g}]")


def check_condition(cond: Condition, cond_spec: CondSpec, needed: tuple[str, ...]) -> int | None:
    """Check raw conditions against the data's specification before any device work.

    Args:
        cond: Raw conditions; keys beyond the needed ones are checked too.
        cond_spec: What the model was built for.
        needed: The keys that must be there.

    Returns:
        The number of samples, or None if there are no conditions.

    Raises:
        ValueError: If a key is missing or unknown, or a value has the wrong type, shape or range.
    """
    for key in cond:
        if key not in cond_spec:
            raise ValueError(f"unknown condition {key!r}; the model knows {', '.join(cond_spec) or 'none'}")
    for key in needed:
        if key not in cond:
            raise ValueError(f"condition {key!r} is missing")
    if "label" in cond:
        check_label(cond["label"], len(cond_spec["label"]["names"]))
    sizes = {len(value) for value in cond.values()}
    if len(sizes) > 1:
        raise ValueError(f"conditions disagree on the number of samples: {sorted(sizes)}")
    return sizes.pop() if sizes else None


def check_label(label: Tensor, num_classes: int) -> None:
    """Refuse a label that is not (N,) integer in [0, num_classes)."""
    integers = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    if not isinstance(label, Tensor) or label.dtype not in integers or label.ndim != 1 or len(label) == 0:
        raise ValueError(f"label must be (N,) int64 in [0, {num_classes - 1}] with N >= 1, got {describe(label)}")
    low, high = int(label.min()), int(label.max())
    if low < 0 or high >= num_classes:
        raise ValueError(f"label must be in [0, {num_classes - 1}], got {low if low < 0 else high}")


def check_seeds(seeds: Tensor) -> None:
    """Refuse image seeds that are not (N,) int64 with N >= 1, all at least 0."""
    if not isinstance(seeds, Tensor) or seeds.dtype != torch.int64 or seeds.ndim != 1 or len(seeds) == 0:
        raise ValueError(f"seeds must be (N,) int64 with N >= 1, got {describe(seeds)}")
    if int(seeds.min()) < 0:
        raise ValueError(f"seeds must be >= 0, got {int(seeds.min())}")


def check_noise(noise: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse starting noise that is not (N, *shape) float32 and finite."""
    expected = f"noise must be (N, {', '.join(map(str, shape))}) float32"
    if (
        not isinstance(noise, Tensor)
        or noise.dtype != torch.float32
        or tuple(noise.shape[1:]) != shape
        or not len(noise)
    ):
        raise ValueError(f"{expected}, got {describe(noise)}")
    if not torch.isfinite(noise).all():
        raise ValueError(f"{expected} and finite")


def describe(value: object) -> str:
    """Name a tensor's shape and type, or the type of anything else."""
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
