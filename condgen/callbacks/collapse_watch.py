"""A running measure of the variety of samples, class by class, and an alarm when a class loses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.models import GenerativeModel
from condgen.seeding import derive, run_seed
from condgen.types import Batch, Condition

SIDE = 8
"""Images are averaged down to this side at most, and to half of theirs at least, which takes most pixel noise out."""
GROUPS = 4
"""Groups of real images per class that are measured."""
REFERENCE_BATCHES = 2000
"""Batches in which they are looked for; a class that is too rare in them is not watched."""


def reduced(image: Tensor) -> Tensor:
    """Average (N, C, H, W) down to at most 8x8 pixels, as rows (N, D) float32 on the CPU."""
    height, width = (min(SIDE, max(1, size // 2)) for size in image.shape[-2:])
    return F.adaptive_avg_pool2d(image.float(), (height, width)).flatten(1).cpu()


def variety(rows: Tensor) -> float:
    """Return the mean distance from each of the rows (N, D) to the nearest other one.

    It is 0 if all rows are equal and, unlike the mean distance of all pairs, near 0 if they are copies of a few.
    """
    distance = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    return float(distance.fill_diagonal_(torch.inf).amin(dim=1).mean())


@dataclass
class ClassRecord:
    """What is known of one class.

    Attributes:
        waiting: Real images, reduced, that do not fill a group yet.
        groups: Groups of real images measured.
        real_sum: Sum of their varieties.
        now: Variety of the last samples, over that of real images; null before the first.
        best: Largest such ratio so far.
        low: Checks in a row that count as low.
        collapsed: Whether the alarm was given.
    """

    waiting: Tensor | None = None
    groups: int = 0
    real_sum: float = 0.0
    now: float | None = None
    best: float = 0.0
    low: int = 0
    collapsed: bool = False

    def add_real(self, rows: Tensor, group: int) -> None:
        """Measure real images (N, D) in groups of `group`, as many as samples are compared at a time."""
        rows = rows if self.waiting is None else torch.cat([self.waiting, rows])
        while len(rows) >= group and self.groups < GROUPS:
            self.real_sum += variety(rows[:group])
            self.groups += 1
            rows = rows[group:]
        self.waiting = rows.clone() if self.groups < GROUPS else None

    def judge(self, ratio: float, threshold: float, young: bool) -> None:
        """Count a check; before variety has ever reached the threshold, neither young checks nor growth are low."""
        learning = self.best < threshold and (young or ratio > self.best + 0.05 * threshold)
        self.low = self.low + 1 if ratio < threshold and not learning else 0
        self.now, self.best = ratio, max(self.best, ratio)


class CollapseWatch(L.Callback):
    """Warns when the samples of a class become alike (mode collapse), and can end the run then.

    Every `every_n_steps` batches a few samples per class are drawn with the raw weights, which an average would follow
    late, and by the sampler's draft. Their variety is the mean distance to the nearest other one, on images averaged
    down to 8x8, over the same of as many real images of the class, from the first batches. A constant generator has 0,
    one of a few images per class almost 0, real images 1. Logs `train/variety`, the mean over classes, and
    `train/variety_min`. Works in the first process; draws nothing that training draws.

    Args:
        every_n_steps: Batches between two checks.
        per_class: Samples per class in a check.
        classes: Classes per check; where there are more, they take turns.
        threshold: Variety below which a class is too uniform.
        patience: Checks in a row for which it must be so.
        warmup: Batches before which a class counts only if it has had more variety already. Later, too, such a class
            counts only if its variety has stopped growing.
        stop: End the run at the first collapse; `Checkpoint` then keeps what it saved before.
    """

    def __init__(
        self,
        every_n_steps: int = 50,
        per_class: int = 16,
        classes: int = 10,
        threshold: float = 0.2,
        patience: int = 3,
        warmup: int = 100,
        stop: bool = False,
    ) -> None:
        super().__init__()
        least = {"every_n_steps": 1, "per_class": 2, "classes": 1, "patience": 1, "warmup": 0}
        given = {"every_n_steps": every_n_steps, "per_class": per_class, "classes": classes, "patience": patience}
        for name, value in (given | {"warmup": warmup}).items():
            if value < least[name]:
                raise ValueError(f"{name} must be at least {least[name]}, got {value}")
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be above 0 and below 1, got {threshold}")
        self.every_n_steps = every_n_steps
        self.per_class = per_class
        self.classes = classes
        self.threshold = threshold
        self.patience = patience
        self.warmup = warmup
        self.stop = stop
        self.suspects = False
        self.stopped = False
        self._batches = 0
        self._records: dict[int, ClassRecord] = {}

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Measure real images while that is to be done, and samples when it is time."""
        model = pl_module
        if not isinstance(model, GenerativeModel) or not set(model.condition_keys) <= {"label"}:
            return
        if trainer.is_global_zero:
            self._add_real(model, batch)
        if model.batches_seen % self.every_n_steps == 0:
            if trainer.is_global_zero:
                self._check(model)
            self._decide(trainer)

    # ------------------------------------------------------------------ real images

    def _add_real(self, model: GenerativeModel, batch: Batch) -> None:
        self._batches += 1
        missing = {k for k in range(num_classes(model)) if self._record(k).groups < GROUPS}
        if not missing or self._batches > REFERENCE_BATCHES:
            return
        rows = reduced(batch["image"])
        label = batch["cond"]["label"].cpu() if model.condition_keys else torch.zeros(len(rows), dtype=torch.int64)
        for k in missing & set(label.tolist()):
            self._record(k).add_real(rows[label == k], self.per_class)

    def _record(self, k: int) -> ClassRecord:
        return self._records.setdefault(k, ClassRecord())

    # ------------------------------------------------------------------ samples

    def _check(self, model: GenerativeModel) -> None:
        """Measure the classes whose turn it is, log the last variety of all, and warn."""
        check = model.batches_seen // self.every_n_steps
        total = num_classes(model)
        turn = {(check * self.classes + i) % total for i in range(min(self.classes, total))}
        known = [k for k in sorted(turn) if self._record(k).real_sum > 0]
        if not known:
            return
        for k, rows in zip(known, self._draw(model, known), strict=True):
            record = self._record(k)
            ratio = variety(rows) / (record.real_sum / record.groups)
            record.judge(ratio, self.threshold, young=model.batches_seen < self.warmup)
            self._warn(model, k, record)
        ratios = [record.now for record in self._records.values() if record.now is not None]
        model.log_metrics({"train/variety": sum(ratios) / len(ratios), "train/variety_min": min(ratios)})

    def _draw(self, model: GenerativeModel, classes: list[int]) -> list[Tensor]:
        """Sample and reduce, class by class, with seeds of this batch's own."""
        label = torch.tensor(classes).repeat_interleave(self.per_class)
        key = run_seed(), "variety", model.batches_seen
        seeds = torch.tensor([derive(*key, i) for i in range(len(label))])
        cond: Condition = {"label": label} if model.condition_keys else {}
        with model.drafting():
            return list(reduced(model.sample(cond, seeds=seeds)).split(self.per_class))

    def _warn(self, model: GenerativeModel, k: int, record: ClassRecord) -> None:
        """Tell of a collapse, and of its end."""
        who = f"class {model.cond_spec['label']['names'][k]}" if model.condition_keys else "the generator"
        how = f"its samples vary {record.now:.2f} times as much as the real images"
        if record.low >= self.patience and not record.collapsed:
            record.collapsed = True
            model.print(f"warning, batch {model.batches_seen:,}: {who} has collapsed: {how}")
        elif record.low == 0 and record.collapsed:
            record.collapsed = False
            model.print(f"batch {model.batches_seen:,}: {who} has recovered: {how}")

    # ------------------------------------------------------------------ the end

    def _decide(self, trainer: L.Trainer) -> None:
        """Let all processes know whether checkpoints may be saved, and whether to stop."""
        if not self.stop:
            return
        mine = any(r.low for r in self._records.values()), any(r.collapsed for r in self._records.values())
        self.suspects, self.stopped = trainer.strategy.broadcast(mine)
        trainer.should_stop = trainer.should_stop or self.stopped

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to log and to warn as if it had not stopped."""
        return {"batches": self._batches, "records": {k: asdict(record) for k, record in self._records.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state."""
        self._batches = state_dict["batches"]
        self._records = {k: ClassRecord(**values) for k, values in state_dict["records"].items()}


def num_classes(model: GenerativeModel) -> int:
    """Return the number of classes that the model is asked for; 1 without labels."""
    return len(model.cond_spec["label"]["names"]) if model.condition_keys else 1
