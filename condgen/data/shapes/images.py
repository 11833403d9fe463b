"""A split of pictures that are drawn when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from condgen.data.images import Images, ImageSet
from condgen.data.shapes import render
from condgen.data.shapes.attributes import attributes_spec, to_attributes
from condgen.data.shapes.captions import encode, say
from condgen.data.shapes.draws import WORDS, Scenes, Uniforms, draw_scenes, uniforms
from condgen.data.shapes.facts import SHAPES
from condgen.data.shapes.geometry import block_length
from condgen.data.shapes.words import MAX_LENGTH, MAX_WORDS, all_words
from condgen.seeding import derive
from condgen.types import CondSpec, Shape

Source = Literal["edges", "sketch"]
CONDITIONS = ("label", "attributes", "text", "mask", "source", "low_res")
FACTOR = 4
"""By which low resolution is lower."""


def spec(conditions: Sequence[str], n_objects: int, source: Source) -> CondSpec:
    """Describe conditions in the order in which they were named.

    Raises:
        ValueError: If one is unknown, or means nothing for so many objects.
    """
    known: CondSpec = {
        "label": {"names": list(SHAPES)},
        "attributes": attributes_spec(n_objects),
        "text": {
            "max_length": MAX_LENGTH[n_objects - 1],
            "words": all_words(),
            "max_words": MAX_WORDS[n_objects - 1],
        },
        "mask": {"num_classes": len(SHAPES) + 1, "names": ["background", *SHAPES]},
        "source": {"channels": 1 if source == "edges" else 3, "paired": True},
        "low_res": {"channels": 3, "factor": FACTOR},
    }
    if n_objects != 1:
        del known["label"]
    for key in conditions:
        if key not in known:
            raise ValueError(f"conditions of {n_objects} object(s) are {', '.join(known)}; got {key!r}")
    return {key: known[key] for key in conditions}


class ShapesImages(Images):
    """Pictures of shapes, image i a function of (seed, split, i) and the arguments; none is kept.

    Args:
        seed: Of all draws.
        split: Name of the split; any.
        count: Number of pictures.
        pairs: Table (4, 6) bool of the pairs of shape and colour that occur; all if left out.
        image_size: Height and width in pixels, 16 to 128.
        n_objects: 1 or 2.
        conditions: Keys of the conditions.
        source: The picture that stands as `source`.
    """

    def __init__(
        self,
        seed: int,
        split: str,
        count: int,
        *,
        pairs: Tensor | None = None,
        image_size: int = 32,
        n_objects: int = 1,
        conditions: Sequence[str] = ("label",),
        source: Source = "edges",
    ) -> None:
        if not 16 <= image_size <= 128:
            raise ValueError(f"image_size must be from 16 to 128, got {image_size}")
        if "low_res" in conditions and image_size % FACTOR:
            raise ValueError(f"image_size must be divisible by {FACTOR} for low_res, got {image_size}")
        if n_objects not in (1, 2):
            raise ValueError(f"n_objects must be 1 or 2, got {n_objects}")
        if count < 1:
            raise ValueError(f"the number of {split} images must be at least 1, got {count}")
        self.key = derive(seed, "shapes", split)
        self.count = count
        self.pairs = torch.ones(4, 6, dtype=torch.bool) if pairs is None else pairs
        self.n_objects = n_objects
        self.source: Source = source
        self.cond_spec = spec(conditions, n_objects, source)
        self.image_shape: Shape = (3, image_size, image_size)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return self.count

    def take(self, index: Tensor) -> ImageSet:
        """Draw the pictures at `index` (M,) int64, with their conditions."""
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < self.count:
            raise IndexError(f"places must be in [0, {self.count - 1}], got {int(index.min())} to {int(index.max())}")
        blocks = [self._draw(block) for block in index.split(block_length(self.image_shape[1]))]
        cond = {key: torch.cat([block.cond[key] for block in blocks]) for key in self.cond_spec}
        return ImageSet(torch.cat([block.pixels for block in blocks]), cond)

    def row_bytes(self) -> int:
        """Return the bytes of a picture and its conditions."""
        row = self.take(torch.zeros(1, dtype=torch.int64))
        return sum(value.nbytes for value in (row.pixels, *row.cond.values()))

    @property
    def settings(self) -> tuple[object, ...]:
        """All that the pictures are a function of, in plain values."""
        return self.key, self.count, self.pairs.tolist(), self.n_objects, self.source, self.cond_spec, self.image_shape

    def scenes(self, index: Tensor) -> Scenes:
        """Return what the pictures at `index` (M,) int64 show."""
        return draw_scenes(uniforms(self.key, index), self.n_objects, self.pairs)

    def _draw(self, index: Tensor) -> ImageSet:
        drawn = Drawn(uniforms(self.key, index), self)
        return ImageSet(drawn.pixels, {key: getattr(drawn, key) for key in self.cond_spec})


class Drawn:
    """Some pictures with all that can be said of them; attributes are named as the conditions, each made when read."""

    def __init__(self, u: Uniforms, images: ShapesImages) -> None:
        self._u, self._images = u, images
        self._scenes = draw_scenes(u, images.n_objects, images.pairs)

    @cached_property
    def covers(self) -> Tensor:
        """What each object covers, (N, K, H, W) float32."""
        return render.cover(self._scenes, self._images.image_shape[1])

    @cached_property
    def pixels(self) -> Tensor:
        """The pictures (N, 3, H, W) uint8."""
        return render.photo(self.covers, self._scenes)

    @property
    def label(self) -> Tensor:
        """Shape of the only object, (N,) int64."""
        return self._scenes.facts.shape.squeeze(1)

    @property
    def attributes(self) -> Tensor:
        """All facts as numbers, (N, A) float32."""
        return to_attributes(self._scenes.facts)

    @property
    def text(self) -> Tensor:
        """Caption (N, B) uint8."""
        captions = say(self._scenes.facts, self._u[:, WORDS:])
        return encode(captions, MAX_LENGTH[self._images.n_objects - 1])

    @cached_property
    def mask(self) -> Tensor:
        """Class of each pixel, (N, H, W) uint8."""
        return render.mask(self.covers, self._scenes)

    @property
    def source(self) -> Tensor:
        """The scene as edges (N, 1, H, W), or as a sketch (N, 3, H, W), uint8."""
        return render.edges(self.mask) if self._images.source == "edges" else render.sketch(self.covers, self._scenes)

    @property
    def low_res(self) -> Tensor:
        """Smaller pictures (N, 3, h, w) uint8."""
        return render.low_res(self.pixels, FACTOR)
