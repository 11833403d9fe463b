"""Image classifiers, trained on real data to judge generated images."""

from __future__ import annotations

from collections.abc import Callable

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from condgen.models.base import log_interval
from condgen.models.schedule import Schedule
from condgen.nets import ConvClassifier
from condgen.seeding import seed_batch
from condgen.types import Batch, CondSpec, Shape

ClassifierFactory = Callable[[Shape, int], ConvClassifier]


class Classifier(L.LightningModule):
    """Cross-entropy on `label`, with AdamW.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module; `label` is needed.
        net: Factory of the net from the image shape and the number of classes.
        lr: Learning rate at the start.
        weight_decay: Weight decay.
        schedule: Factor of the learning rate as a function of images seen.
    """

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
        super().__init__()
        if "label" not in cond_spec:
            raise ValueError("a classifier needs the condition 'label', which the data does not offer")
        self.net = net(image_shape, len(cond_spec["label"]["names"]))
        self.lr, self.weight_decay, self.schedule = lr, weight_decay, schedule
        self.images_seen = 0

    def configure_optimizers(self) -> Optimizer:
        """Return the optimizer."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the global generators, set the learning rate."""
        seed_batch(self.global_rank, self.global_step, self.device)
        if self.schedule is not None:
            self.schedule.apply(self.trainer.optimizers[0], self.images_seen)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the cross-entropy."""
        self.images_seen += len(batch["image"]) * self.trainer.world_size
        loss = F.cross_entropy(self.net(batch["image"]), batch["cond"]["label"])
        if (self.global_step + 1) % log_interval(self.trainer) == 0:
            self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the accuracy."""
        self._log_accuracy(batch, "val/accuracy")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the accuracy."""
        self._log_accuracy(batch, "test/accuracy")

    def _log_accuracy(self, batch: Batch, name: str) -> None:
        label = batch["cond"]["label"]
        right = (self.net(batch["image"]).argmax(dim=1) == label).float().mean()
        self.log(name, right, on_epoch=True, prog_bar=True, batch_size=len(label), sync_dist=True)
