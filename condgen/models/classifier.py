"""Image classifiers, trained on real data to judge generated images."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.models.recogniser import Recogniser
from condgen.models.schedule import Schedule
from condgen.nets import ConvClassifier
from condgen.types import CondSpec, Shape

ClassifierFactory = Callable[[Shape, int], ConvClassifier]


class Classifier(Recogniser):
    """Cross-entropy on `label`, with AdamW.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module; `label` is needed.
        net: Factory of the net from the image shape and the number of classes.
        lr: Learning rate at the start.
        weight_decay: Weight decay.
        schedule: Factor of the learning rate as a function of images seen.
    """

    what: ClassVar[str] = "classifier"
    key: ClassVar[str] = "label"
    score_names: ClassVar[tuple[str, ...]] = ("accuracy",)
    num_counts = 2

    def __init__(
        self,
        image_shape: Shape,
        cond_spec: CondSpec,
        *,
        net: ClassifierFactory = ConvClassifier,
        lr: float = 2e-3,
        weight_decay: float = 1e-2,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(image_shape, cond_spec, lr=lr, weight_decay=weight_decay, schedule=schedule)
        self.net: ConvClassifier = net(self.image_shape, len(cond_spec["label"]["names"]))

    def loss(self, logits: Tensor, due: Tensor) -> Tensor:
        """Return the cross-entropy."""
        return F.cross_entropy(logits, due)

    def count(self, logits: Tensor, due: Tensor) -> Tensor:
        """Count right answers, and all."""
        right = logits.argmax(dim=1) == due
        return torch.stack([right.sum(), torch.ones_like(right).sum()])

    def scores(self, counts: Tensor) -> dict[str, float]:
        """Return the share of right answers."""
        return {"accuracy": int(counts[0]) / max(1, int(counts[1]))}
