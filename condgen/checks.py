"""Checks at the public doors; each error names the thing, its value and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from condgen.types import Condition, CondSpec, Shape

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_shape(image: Tensor, shape: Shape) -> None:
    """Refuse an image batch that is not (N, *shape) with N >= 1, naming what differs."""
    if image.ndim != 4 or tuple(image.shape[1:]) != tuple(shape) or len(image) == 0:
        raise ValueError(f"image must be (N, {', '.join(map(str, shape))}), got {tuple(image.shape)}")


def check_range(image: Tensor, name: str = "image") -> None:
    """Refuse an image batch with a value that is not finite or lies outside [-1, 1]."""
    if not image.is_floating_point():
        raise ValueError(f"{name} must be floating point in [-1, 1], got {image.dtype}")
    low, high = (bound.item() for bound in torch.aminmax(image))
    if not (low >= -1.0 and high <= 1.0):  # a NaN fails both comparisons
        raise ValueError(f"{name} values must be finite and in [-1, 1], got [{low:.4g}, {high:.4g}]")


def check_condition(
    cond: Condition, cond_spec: CondSpec, needed: tuple[str, ...], image_shape: Shape | None = None
) -> int | None:
    """Check raw conditions against the data's specification before any device work.

    Args:
        cond: Raw conditions; keys beyond the needed ones are checked too. Pictures and masks may be uint8, as stored.
        cond_spec: What the model was built for.
        needed: The keys that must be there.
        image_shape: (C, H, W) of the images, whose height and width source, mask and known have; null to let any pass.

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
    for key, value in cond.items():
        CHECKS[key](value, cond_spec[key])
        if image_shape is not None:
            check_size(key, value, cond_spec[key], image_shape)
    sizes = {len(value) for value in cond.values()}
    if len(sizes) > 1:
        raise ValueError(f"conditions disagree on the number of samples: {sorted(sizes)}")
    return sizes.pop() if sizes else None


def check_label(label: Tensor, num_classes: int) -> None:
    """Refuse a label that is not (N,) integer in [0, num_classes)."""
    if not is_rows(label, 1, INTEGERS):
        raise ValueError(f"label must be (N,) int64 in [0, {num_classes - 1}] with N >= 1, got {describe(label)}")
    check_classes("label", label, num_classes)


def check_attributes(attributes: Tensor, names: list[str]) -> None:
    """Refuse attributes that are not (N, A) float32 and finite; values outside the data's range are allowed."""
    if not is_rows(attributes, 2, (torch.float32,)) or attributes.shape[1] != len(names):
        raise ValueError(f"attributes must be (N, {len(names)}) float32 with N >= 1, got {describe(attributes)}")
    if not torch.isfinite(attributes).all():
        raise ValueError("attributes must be finite")


def check_text(text: Tensor, max_length: int) -> None:
    """Refuse text that is not (N, max_length) uint8."""
    if not is_rows(text, 2, (torch.uint8,)) or text.shape[1] != max_length:
        raise ValueError(f"text must be (N, {max_length}) uint8 with N >= 1, got {describe(text)}")


def check_picture(key: str, image: Tensor, channels: int) -> None:
    """Refuse a picture that is neither (N, channels, H, W) float32 in [-1, 1] nor, as stored, uint8."""
    if not is_rows(image, 4, (torch.float32, torch.uint8)) or image.shape[1] != channels:
        raise ValueError(f"{key} must be (N, {channels}, H, W) float32 in [-1, 1], N >= 1, got {describe(image)}")
    if image.is_floating_point():
        check_range(image, key)


def check_mask(mask: Tensor, num_classes: int) -> None:
    """Refuse a mask that is not (N, H, W) integer in [0, num_classes)."""
    if not is_rows(mask, 3, INTEGERS):
        raise ValueError(f"mask must be (N, H, W) int64 in [0, {num_classes - 1}], got {describe(mask)}")
    check_classes("mask", mask, num_classes)


def check_known(known: Tensor) -> None:
    """Refuse a map of known pixels that is not (N, 1, H, W), each 0 or 1."""
    if not is_rows(known, 4, (torch.float32, torch.uint8)) or known.shape[1] != 1:
        raise ValueError(f"known must be (N, 1, H, W) float32, got {describe(known)}")
    if not ((known == 0) | (known == 1)).all():
        raise ValueError("known must be 0 or 1 at every pixel")


def check_size(key: str, value: Tensor, spec: dict[str, Any], image_shape: Shape) -> None:
    """Refuse what shows the image's places, and has another height or width; `low_res` by its factor."""
    factor = spec.get("factor") if key == "low_res" else 1
    if key not in ("source", "mask", "known", "low_res") or factor is None:
        return
    due, found = tuple(side // factor for side in image_shape[1:]), tuple(value.shape[-2:])
    if found != due:
        raise ValueError(f"{key} must be of {due[0]}x{due[1]} pixels, got {found[0]}x{found[1]}")


def check_classes(key: str, value: Tensor, num_classes: int) -> None:
    """Refuse numbers of classes outside [0, num_classes)."""
    low, high = (int(bound) for bound in torch.aminmax(value))
    if low < 0 or high >= num_classes:
        raise ValueError(f"{key} must be in [0, {num_classes - 1}], got {low if low < 0 else high}")


def is_rows(value: Any, ndim: int, dtypes: tuple[torch.dtype, ...]) -> bool:
    """Tell whether a value is a tensor of N >= 1 rows, of so many dimensions, and one of some types."""
    return isinstance(value, Tensor) and value.dtype in dtypes and value.ndim == ndim and value.numel() > 0


def check_picture_of(key: str, value: Tensor, spec: dict[str, Any]) -> None:
    """Check a picture against its part of a specification."""
    check_picture(key, value, spec["channels"])


CHECKS: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "label": lambda value, spec: check_label(value, len(spec["names"])),
    "attributes": lambda value, spec: check_attributes(value, spec["names"]),
    "text": lambda value, spec: check_text(value, spec["max_length"]),
    "mask": lambda value, spec: check_mask(value, spec["num_classes"]),
    "known": lambda value, _: check_known(value),
    **{key: partial(check_picture_of, key) for key in ("source", "low_res", "style")},
}
"""Check of each condition, called with its value and its part of the data's specification."""


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
