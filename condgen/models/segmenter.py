"""Nets that tell the class of each pixel, trained on real data to judge generated images."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from condgen.masks import common_and_joint, mean_iou, pixel_accuracy
from condgen.models.recogniser import Recogniser
from condgen.models.schedule import Schedule
from condgen.nets import SegmentationUNet
from condgen.objectives import balanced_cross_entropy
from condgen.types import CondSpec, Shape

SegmenterFactory = Callable[[Shape, int], SegmentationUNet]


class Segmenter(Recogniser):
    """Cross-entropy on `mask`, the class of each pixel, with AdamW.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module; `mask` is needed.
        net: Factory of the net from the image shape and the number of classes.
        balance: From 0, where all pixels count alike, to 1, where all classes do; frequent classes get the more of the
            pixels right, rare classes the more of the mean IoU.
        lr: Learning rate at the start.
        weight_decay: Weight decay.
        schedule: Factor of the learning rate as a function of images seen.
    """

    what: ClassVar[str] = "segmenter"
    key: ClassVar[str] = "mask"
    score_names: ClassVar[tuple[str, ...]] = ("pixel_accuracy", "mean_iou")

    def __init__(
        self,
        image_shape: Shape,
        cond_spec: CondSpec,
        *,
        net: SegmenterFactory = SegmentationUNet,
        balance: float = 0.0,
        lr: float = 2e-3,
        weight_decay: float = 1e-2,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(image_shape, cond_spec, lr=lr, weight_decay=weight_decay, schedule=schedule)
        if not 0 <= balance <= 1:
            raise ValueError(f"balance must be from 0 to 1, got {balance}")
        self.balance = balance
        self.net: SegmentationUNet = net(self.image_shape, int(cond_spec["mask"]["num_classes"]))
        self.net.to(memory_format=torch.channels_last)  # faster on CPUs and GPUs alike
        self.num_counts = 2 * self.net.num_classes

    def loss(self, logits: Tensor, due: Tensor) -> Tensor:
        """Return the balanced cross-entropy over all pixels."""
        return balanced_cross_entropy(logits, due, self.balance)

    def count(self, logits: Tensor, due: Tensor) -> Tensor:
        """Count common and joint pixels of each class."""
        return common_and_joint(logits.argmax(dim=1), due, self.net.num_classes).sum(dim=0)

    def scores(self, counts: Tensor) -> dict[str, float]:
        """Return the share of right pixels, and the mean IoU of the classes that occur."""
        total = counts.unsqueeze(0)
        return {"pixel_accuracy": float(pixel_accuracy(total)), "mean_iou": float(mean_iou(total))}
