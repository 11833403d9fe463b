"""Image classifiers, trained on real data to judge generated images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from condgen.models.recorded import RecordedModule
from condgen.models.schedule import Schedule
from condgen.nets import ConvClassifier
from condgen.types import Batch, CondSpec, Shape

ClassifierFactory = Callable[[Shape, int], ConvClassifier]


class Classifier(RecordedModule):
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
        super().__init__(image_shape, cond_spec)
        if "label" not in cond_spec:
            raise ValueError("a classifier needs the condition 'label', which the data does not offer")
        self.net = net(self.image_shape, len(cond_spec["label"]["names"]))
        self.lr, self.weight_decay, self.schedule = lr, weight_decay, schedule

    def configure_optimizers(self) -> Optimizer:
        """Return the optimizer."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def train_on(self, batch: Batch) -> Tensor:
        """Return the cross-entropy."""
        if self.schedule is not None:
            self.schedule.apply(self.trainer.optimizers[0], self.images_seen)
        loss = F.cross_entropy(self.net(batch["image"]), batch["cond"]["label"])
        self.losses["train/loss"] = loss.detach()
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count right answers."""
        self._log_accuracy(batch, "val/accuracy")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count right answers."""
        self._log_accuracy(batch, "test/accuracy")

    def _log_accuracy(self, batch: Batch, name: str) -> None:
        label = batch["cond"]["label"]
        right = (self.net(batch["image"]).argmax(dim=1) == label).float().mean()
        self.log(name, right, on_epoch=True, batch_size=len(label), sync_dist=True, logger=False)

    def on_validation_end(self) -> None:
        """Send the accuracy to the loggers."""
        self._send("val/accuracy")

    def on_test_end(self) -> None:
        """Send the accuracy to the loggers, and print it."""
        self._send("test/accuracy")
        self.print(f"test accuracy {self.trainer.callback_metrics['test/accuracy']:.4f}")

    def _send(self, name: str) -> None:
        if not self.trainer.sanity_checking:
            self.log_metrics({name: float(self.trainer.callback_metrics[name])})
