"""The 1,797 handwritten digits of 8x8 pixels that ship inside scikit-learn."""

from __future__ import annotations

import torch

from condgen.data.augment import Augmentation
from condgen.data.base import ImageDataModule, Split, stratified_parts
from condgen.data.images import ImageSet


class Digits(ImageDataModule):
    """Real 8x8 grey digits (Alpaydin & Kaynak 1998), part of scikit-learn: nothing is downloaded.

    The split into 1,077 training, 360 validation and 360 test images is stratified and fixed (seed 0).

    Args:
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    image_shape = (1, 8, 8)
    sizes = (1077, 360, 360)

    def __init__(self, batch_size: int = 64, eval_batch_size: int = 360, augment: Augmentation | None = None) -> None:
        super().__init__(batch_size, eval_batch_size, augment)
        self.cond_spec = {"label": {"names": [str(digit) for digit in range(10)]}}

    def load(self, split: Split) -> ImageSet:
        """Read one split."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        label = torch.from_numpy(digits.target).long()
        pixels = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
        parts = dict(zip(("train", "validation", "test"), stratified_parts(label, self.sizes, seed=0), strict=True))
        return ImageSet(pixels, {"label": label}).take(parts[split])
