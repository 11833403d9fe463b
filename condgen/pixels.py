"""The two doors where value ranges change: uint8 pixels come in, uint8 pixels go out."""

from __future__ import annotations

import torch
from torch import Tensor

from condgen.types import Condition

PICTURES = ("source", "low_res", "style")
"""Conditions that are images."""
ON_HOST = ("text",)
"""Conditions that the host reads, so that a device need never wait to give them back."""


def to_model_range(pixels: Tensor) -> Tensor:
    """Map uint8 pixels to float32 in [-1, 1]; 0 becomes -1 and 255 becomes 1."""
    if pixels.dtype != torch.uint8:
        raise TypeError(f"pixels must be uint8, got {pixels.dtype}")
    return pixels.float().div_(127.5).sub_(1.0)


def to_uint8(image: Tensor) -> Tensor:
    """Round an image in [-1, 1] to the nearest of the 256 grey levels; values outside are clamped."""
    if not image.is_floating_point():
        raise TypeError(f"image must be floating point in [-1, 1], got {image.dtype}")
    return image.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def conditions_to_model(cond: Condition) -> Condition:
    """Map stored conditions to those that models take: uint8 pictures to [-1, 1], masks to int64, others unchanged."""
    out = dict(cond)
    out |= {key: to_model_range(cond[key]) for key in PICTURES if key in cond and cond[key].dtype == torch.uint8}
    if "mask" in cond:
        out["mask"] = cond["mask"].long()
    if "known" in cond:
        out["known"] = cond["known"].float()
    return out


def to_device(cond: Condition, device: torch.device) -> Condition:
    """Move conditions to a device, but for those that the host reads."""
    return {key: value if key in ON_HOST else sent(value, device) for key, value in cond.items()}


def sent(x: Tensor, device: torch.device) -> Tensor:
    """Copy to a device; a GPU takes it in its turn, and the host goes on."""
    return x.to(device, non_blocking=device.type == "cuda")
