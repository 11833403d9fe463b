"""Obedience as a net sees it that was trained on real images."""

from __future__ import annotations

from typing import Any, ClassVar, Generic

from torch import Tensor

from condgen.checks import check_shape
from condgen.metrics.obedience import Obedience
from condgen.metrics.saved_net import Net, read_net
from condgen.pixels import to_model_range

CHUNK = 64
"""Images that the net sees at a time, at most."""


class ByNet(Obedience, Generic[Net]):
    """Looks at samples through a net, whose name and hash are in the protocol.

    Attributes:
        kind: Class of the net.
        what: Word for such a net.
        card: What its file says of it.

    Args:
        weights: The file, as `condgen fit` of such a net leaves it in its run.

    Raises:
        ValueError: If the file is missing or holds no such net.
    """

    kind: ClassVar[Any]
    what: ClassVar[str]
    net: Net

    def __init__(self, weights: str) -> None:
        super().__init__()
        saved = read_net(weights, self.kind, self.what)
        self.net, self.card, self.name_and_hash = saved.net, saved.card, saved.name_and_hash

    @property
    def settings(self) -> dict[str, Any]:
        """Name and hash of the net."""
        return {self.what: self.name_and_hash}

    def shown(self, pixels: Tensor) -> list[Tensor]:
        """Return uint8 images (N, C, H, W) as the net sees them, a chunk at a time, where it is."""
        check_shape(pixels, self.net.shape)
        return [to_model_range(part.to(self.device)) for part in pixels.split(CHUNK)]
