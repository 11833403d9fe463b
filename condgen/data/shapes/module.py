"""The data module of drawn shapes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from condgen.data.augment import Augmentation
from condgen.data.base import ImageDataModule, Split
from condgen.data.fingerprint import hash_files, hash_images
from condgen.data.images import Images
from condgen.data.shapes.draws import held_out_pairs
from condgen.data.shapes.images import ShapesImages, Source

MEMORY = 2 * 2**30
"""Bytes of a split that are kept."""


class Shapes(ImageDataModule):
    """Coloured shapes on grey, drawn from (seed, split, place): nothing is downloaded, and all facts are known.

    Conditions are `label` (the shape; of one object only), `attributes` (shape, colour, size, position), `text` (a
    caption that states them), `mask` (background and shapes), `source` (edges, or a sketch of the same scene) and
    `low_res` (a quarter of the size).

    Args:
        n_train: Training images.
        n_validation: Validation images.
        n_test: Test images.
        image_size: Height and width in pixels, 16 to 128.
        n_objects: 1, or 2 that stand left of, right of, above or below each other.
        conditions: Which of them go with the images.
        source: What stands as `source`: `edges`, one channel, or `sketch`, in colour.
        held_out: Share of the 24 pairs of shape and colour that training and validation never show, below 1.
        test_held_out: Whether the test split shows these pairs alone, and not the others alone.
        seed: Of all draws.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches; not with `attributes` or `text`, which would no longer be true.
    """

    def __init__(
        self,
        n_train: int = 50_000,
        n_validation: int = 5_000,
        n_test: int = 5_000,
        image_size: int = 32,
        n_objects: int = 1,
        conditions: Sequence[str] = ("label",),
        source: Source = "edges",
        held_out: float = 0.0,
        test_held_out: bool = False,
        seed: int = 0,
        batch_size: int = 64,
        eval_batch_size: int = 500,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, augment)
        if augment is not None and {"attributes", "text"} & set(conditions):
            raise ValueError(f"augment must be null where conditions state positions, got {list(conditions)}")
        if not 0 <= held_out < 1:
            raise ValueError(f"held_out must be in [0, 1), got {held_out}")
        hidden = held_out_pairs(held_out, seed)
        if test_held_out and not hidden.any():
            raise ValueError(f"test_held_out needs a share held_out of at least 1/24, got {held_out}")
        self.drawn = {
            split: ShapesImages(
                seed,
                split,
                count,
                pairs=hidden if split == "test" and test_held_out else ~hidden,
                image_size=image_size,
                n_objects=n_objects,
                conditions=conditions,
                source=source,
            )
            for split, count in (("train", n_train), ("validation", n_validation), ("test", n_test))
        }
        self.image_shape = self.drawn["train"].image_shape
        self.cond_spec = self.drawn["train"].cond_spec

    def load(self, split: Split) -> Images:
        """Draw one split, or leave its images to be drawn as they are asked for, where all would take much memory."""
        images = self.drawn[split]
        return images.all() if len(images) * images.row_bytes() <= MEMORY else images

    def hash_split(self, split: Split) -> str:
        """Hash what the images are a function of, and the first of them, by which a change of the drawing is seen."""
        images = self.drawn[split]
        first = images.take(torch.arange(min(len(images), 256)))
        return hash_files([], *images.settings, hash_images(first))
