"""Nets that tell classes, trained on real images to judge generated ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from condgen.models.recorded import RecordedModule
from condgen.models.schedule import Schedule
from condgen.nets import RecognisingNet
from condgen.types import Batch, CondSpec, Shape


class Recogniser(RecordedModule, ABC):
    """Trains a net by a loss over classes, with AdamW, and counts its right answers.

    A subclass builds `net`, and defines `loss`, `count` and `scores`.

    Attributes:
        what: Word for such a net.
        key: The condition whose classes the net tells.
        score_names: Names of the scores.
        num_counts: Number of counts that the scores are made of.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module; `key` is needed.
        lr: Learning rate at the start.
        weight_decay: Weight decay.
        schedule: Factor of the learning rate as a function of images seen.
    """

    what: ClassVar[str]
    key: ClassVar[str]
    score_names: ClassVar[tuple[str, ...]]
    num_counts: int
    net: RecognisingNet

    def __init__(
        self, image_shape: Shape, cond_spec: CondSpec, *, lr: float, weight_decay: float, schedule: Schedule | None
    ) -> None:
        super().__init__(image_shape, cond_spec)
        if self.key not in cond_spec:
            raise ValueError(f"a {self.what} needs the condition {self.key!r}, which the data does not offer")
        self.lr, self.weight_decay, self.schedule = lr, weight_decay, schedule
        self.counts = torch.empty(0)

    @abstractmethod
    def loss(self, logits: Tensor, due: Tensor) -> Tensor:
        """Return the loss of class logits."""

    @abstractmethod
    def count(self, logits: Tensor, due: Tensor) -> Tensor:
        """Count what the scores are made of, (num_counts,), in class logits and what is due."""

    @abstractmethod
    def scores(self, counts: Tensor) -> dict[str, float]:
        """Return the scores, in the order of their names, by sums of counts."""

    def card(self) -> dict[str, Any]:
        """Say in plain values what a metric must know of the net beside its weights: the names of its classes."""
        names = self.cond_spec[self.key].get("names")
        return {"classes": list(names)} if names else {}

    # ------------------------------------------------------------------ training

    def configure_optimizers(self) -> Optimizer:
        """Return the optimizer."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)

    def train_on(self, batch: Batch) -> Tensor:
        """Return the loss."""
        if self.schedule is not None:
            self.schedule.apply(self.trainer.optimizers[0], self.images_seen)
        loss = self.loss(self.net(batch["image"]), batch["cond"][self.key])
        self.losses["train/loss"] = loss.detach()
        return loss

    # ------------------------------------------------------------------ validation and test

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self.counts = torch.zeros(self.num_counts, dtype=torch.int64, device=self.device)

    def on_test_epoch_start(self) -> None:
        """Begin to count."""
        self.on_validation_epoch_start()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count right answers."""
        self.counts = self.counts + self.count(self.net(batch["image"]), batch["cond"][self.key])

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count right answers."""
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Send the scores to the loggers."""
        self._report("val")

    def on_test_epoch_end(self) -> None:
        """Send the scores to the loggers, and print them."""
        for name, value in self._report("test").items():
            self.print(f"test {name.replace('_', ' ')} {value:.4f}")

    def _report(self, stage: str) -> dict[str, float]:
        scores = self.scores(self.trainer.strategy.reduce(self.counts, reduce_op="sum"))
        values = {f"{stage}/{name}": value for name, value in scores.items()}
        self.log_dict(values, logger=False, rank_zero_only=False)
        if not self.trainer.sanity_checking:
            self.log_metrics(values)
        return scores
