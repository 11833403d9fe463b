"""Heights of a U-Net's feature maps, and which of them attend."""

from __future__ import annotations

from collections.abc import Sequence

from condgen.types import CondDims, Shape


def check_sides(shape: Shape, patch: int, num_levels: int) -> list[int]:
    """Return the heights of the feature maps, highest first.

    Raises:
        ValueError: If the image's sides cannot be halved so often.
    """
    _, height, width = shape
    factor = patch * 2 ** (num_levels - 1)
    if height % factor or width % factor:
        raise ValueError(
            f"a U-Net with {num_levels} multipliers and patch {patch} takes sides divisible by {factor}, "
            f"got {height}x{width}"
        )
    return [height // patch >> level for level in range(num_levels)]


def check_heights(name: str, heights: Sequence[int], sides: list[int]) -> None:
    """Refuse heights that no feature map has."""
    unknown = [height for height in heights if height not in sides]
    if unknown:
        raise ValueError(f"{name} at height {unknown[0]}: the feature maps have {', '.join(map(str, sides))}")


def crossed_heights(
    dims: CondDims, attention: Sequence[int], cross_attention: Sequence[int] | None, sides: list[int]
) -> Sequence[int]:
    """Return the heights of feature maps that attend to tokens; refuse tokens without heights, and the reverse."""
    if cross_attention and not dims.tokens:
        raise ValueError("cross_attention needs a condition with tokens; the encoder gives none")
    heights = attention if cross_attention is None else cross_attention
    check_heights("cross_attention", heights, sides)
    if dims.tokens and not heights:
        raise ValueError(f"cross_attention must name a height, of {', '.join(map(str, sides))}, for the tokens")
    return heights
