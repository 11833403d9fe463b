"""From one image to another: between two conditions, and between two starting noises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from condgen.conditions import ConditionEncoder
from condgen.conditions.base import Drop
from condgen.models.base import GenerativeModel
from condgen.pixels import conditions_to_model, to_device
from condgen.types import Condition, Encoded


class Between(nn.Module):
    """Stands for a condition encoder: what it makes of one condition, mixed with what it makes of another.

    Args:
        encoder: The encoder.
        other: The other condition, one row.
        weight: Its share in [0, 1].
    """

    def __init__(self, encoder: ConditionEncoder, other: Condition, weight: float) -> None:
        super().__init__()
        self.encoder, self.keys, self.dims = encoder, encoder.keys, encoder.dims
        self.other = other
        self.weight = weight

    def forward(self, cond: Condition, drop: Drop = None) -> Encoded:
        """Encode both, and mix them route by route."""
        one = self.encoder(cond, drop)
        two = self.encoder(
            {key: value.expand(len(cond[key]), *value.shape[1:]) for key, value in self.other.items()}, drop
        )
        routes = {
            name: mixed(getattr(one, name), getattr(two, name), self.weight) for name in ("vector", "tokens", "spatial")
        }
        masks = one.token_mask, two.token_mask
        both = None if masks[0] is None or masks[1] is None else masks[0] | masks[1]
        return Encoded(**routes, token_mask=both)


def mixed(one: Tensor | None, two: Tensor | None, weight: float) -> Tensor | None:
    """Return (1 - weight) one + weight two; null where there is no such route."""
    return None if one is None or two is None else torch.lerp(one, two, weight)


def slerp(one: Tensor, two: Tensor, weight: float) -> Tensor:
    """Go along the great circle between two noises of one shape (Shoemake 1985), which keeps their length."""
    a, b = one.flatten().double(), two.flatten().double()
    cosine = (a @ b / (a.norm() * b.norm()).clamp(min=1e-12)).clamp(-1.0, 1.0)
    angle = torch.arccos(cosine)
    if angle.sin() < 1e-6:
        return torch.lerp(one, two, weight)
    out = (((1 - weight) * angle).sin() * a + (weight * angle).sin() * b) / angle.sin()
    return out.view_as(one).to(one.dtype)


@torch.no_grad()
def interpolate(model: GenerativeModel, cond: Condition, noise: Tensor, frames: int) -> Tensor:
    """Generate images (frames, C, H, W) in [-1, 1] on the way from one image to another.

    Args:
        model: The model.
        cond: Two rows of each condition, from and to; may be empty.
        noise: Starting noise (2, *prior_shape), from and to.
        frames: Number of images, both ends among them.

    Raises:
        ValueError: If `frames` is below 2, or a condition or the noise has not two rows.
    """
    if frames < 2:
        raise ValueError(f"frames must be at least 2, got {frames}")
    wrong = next((name for name, value in {**cond, "noise": noise}.items() if len(value) != 2), None)
    if wrong is not None:
        raise ValueError(f"{wrong} must have two rows, from and to")
    first, last = ({key: value[row : row + 1] for key, value in cond.items()} for row in (0, 1))
    images = []
    for weight in torch.linspace(0.0, 1.0, frames).tolist():
        between = slerp(noise[0], noise[1], weight).unsqueeze(0)
        with mixing(model, last, weight):
            images.append(model.sample(first, noise=between))
    return torch.cat(images)


@contextmanager
def mixing(model: GenerativeModel, other: Condition, weight: float) -> Iterator[None]:
    """Let a model's encoders mix every condition with another one, and its nets see one image at a time."""
    there = conditions_to_model(to_device(other, model.device))
    encoders, chunk = list(encoders_of(model.sampling_net)), model.sample_chunk
    try:
        model.sample_chunk = 1
        for owner, name, encoder in encoders:
            setattr(owner, name, Between(encoder, there, weight))
        yield
    finally:
        model.sample_chunk = chunk
        for owner, name, encoder in encoders:
            setattr(owner, name, encoder)


def encoders_of(net: nn.Module) -> Iterator[tuple[nn.Module, str, ConditionEncoder]]:
    """Yield the condition encoders in a net, but not those inside of others, each with its owner and its name there."""
    for name, child in net.named_children():
        if isinstance(child, ConditionEncoder):
            yield net, name, child
        else:
            yield from encoders_of(child)
