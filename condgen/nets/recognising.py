"""The contract of nets that judge: they can be built again from plain values."""

from __future__ import annotations

from typing import Any

from torch import nn

from condgen.types import Shape


class RecognisingNet(nn.Module):
    """Tells the classes of images; a file of its weights says in plain values how it is built again.

    Its constructor takes an image shape, a number of classes, and `settings`.

    Attributes:
        shape: Image shape (C, H, W).
        num_classes: Number of classes.
        settings: Further arguments of the constructor, in plain values.
    """

    def __init__(self, shape: Shape, num_classes: int, **settings: Any) -> None:
        super().__init__()
        self.shape: Shape = (shape[0], shape[1], shape[2])
        self.num_classes = num_classes
        self.settings = settings


def check_halvings(shape: Shape, halvings: int, widths: int) -> None:
    """Refuse an image whose sides cannot be halved so often, for so many widths."""
    _, height, width = shape
    if height % 2**halvings or width % 2**halvings:
        raise ValueError(f"{widths} widths need sides divisible by {2**halvings}, got {height}x{width}")
