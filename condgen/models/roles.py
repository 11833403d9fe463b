"""What a net must take and give in its role, tried on two blank inputs when a model is built."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from condgen.models.players import evaluating
from condgen.objectives import DiffAugment
from condgen.types import CondDims, Encoded, Shape

PROBES = 2


def require_width(role: str, net: nn.Module, name: str) -> int:
    """Return the width that a net states of itself, such as `latent_dim`.

    Raises:
        ValueError: If it states none.
    """
    width = getattr(net, name, None)
    if not isinstance(width, int):
        raise ValueError(f"{role}: {type(net).__name__} states no {name}, which this role needs")
    return width


def require_output(
    role: str,
    net: nn.Module,
    inputs: dict[str, tuple[int, ...]],
    dims: CondDims,
    image_shape: Shape,
    *gives: tuple[int, ...],
) -> None:
    """Refuse a net that cannot be applied to its role's inputs, or gives something else.

    Args:
        role: Name of the model's argument.
        net: The net, on the CPU.
        inputs: Name and shape, without the batch, of what it takes before the condition.
        dims: Widths of the encoded condition.
        image_shape: Image shape, whose height and width a spatial condition has.
        gives: Shape, without the batch, of each tensor that it must give.

    Raises:
        ValueError: Saying what it takes, or gives.
    """
    refuse_other(role, net, shapes_given(role, net, inputs, dims, image_shape), *gives)


def require_judgement(net: nn.Module, dims: CondDims, image_shape: Shape) -> None:
    """Refuse a net that is no discriminator: images -> logits, one for each image or one for each of its parts.

    Raises:
        ValueError: Saying what it takes, or gives.
    """
    role, feature_dim = "discriminator", require_width("discriminator", net, "feature_dim")
    found = shapes_given(role, net, {"image": image_shape}, dims, image_shape)
    parts = found[0][1:2] if isinstance(found[0], tuple) else ()
    refuse_other(role, net, found, parts, (feature_dim,))


def shapes_given(
    role: str, net: nn.Module, inputs: dict[str, tuple[int, ...]], dims: CondDims, image_shape: Shape
) -> list[tuple[int, ...] | str]:
    """Apply a net to blank inputs; return the shapes that it gives, or the type of what is no tensor."""
    blanks = [torch.zeros(PROBES, *shape) for shape in inputs.values()]
    name, stated = type(net).__name__, ", ".join((*inputs, "condition"))
    try:
        with torch.no_grad(), evaluating(net), torch.random.fork_rng(devices=[]):
            out = net(*blanks, blank_condition(dims, image_shape))
    except Exception as error:  # a net of another role can fail in any way
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{role}: {name} cannot be applied to ({stated}): {reason}") from error
    parts = out if isinstance(out, tuple) else (out,)
    return [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]


def refuse_other(role: str, net: nn.Module, found: Sequence[object], *gives: tuple[int, ...]) -> None:
    """Refuse a net whose output has other shapes than its role's."""
    expected = [(PROBES, *shape) for shape in gives]
    if found != expected:
        raise ValueError(
            f"{role}: {type(net).__name__} gives {listed(found)} for a batch of {PROBES}, not {listed(expected)}"
        )


def blank_condition(dims: CondDims, image_shape: Shape) -> Encoded:
    """Return an encoded condition of zeros, with the routes that have a width."""
    shapes = {"vector": (dims.vector,), "tokens": (1, dims.tokens), "spatial": (dims.spatial, *image_shape[1:])}
    routes = dims._asdict()
    return Encoded(**{route: torch.zeros(PROBES, *shape) for route, shape in shapes.items() if routes[route]})


def refuse_shifts(augment: DiffAugment | None, dims: CondDims) -> None:
    """Refuse to shift images away from the condition's map that stands beside them in the discriminator."""
    if augment is not None and augment.translation and dims.spatial:
        raise ValueError("augment shifts images, but not the condition's map beside them: set translation to false")


def listed(shapes: Sequence[object]) -> str:
    """Write shapes one after the other."""
    return " and ".join(map(str, shapes))
