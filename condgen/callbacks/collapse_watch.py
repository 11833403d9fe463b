"""A running measure of the variety of samples, and an alarm when they lose it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor

from condgen.callbacks.variety import GROUPS, VarietyRecord, reduced, variety
from condgen.models import GenerativeModel
from condgen.models.asking import classes_in_turn
from condgen.seeding import derive, run_seed
from condgen.types import Batch, Condition

REFERENCE_BATCHES = 2000
"""Batches in which they are looked for; a class that is too rare in them is not watched."""


SHARE = 0.25
"""Share of the threshold that counts where images of several conditions are compared with each other."""


NAMES = {"conditions": "train/variety", "seeds": "train/seed_variety"}
CLASS = "its samples vary {} times as much as the real images"
GENERATOR = "the generator", "samples of several conditions vary {} times as much as the real images of these"
SEED = "the use of the seed", "samples of one condition vary {} times as much as the real images of several"


class Look(NamedTuple):
    """The variety of some samples over that of real images, and how an alarm would tell of it.

    Attributes:
        key: The class, `conditions` or `seeds`: what the record is of.
        ratio: The variety.
        who: What would have collapsed.
        what: The samples, and what they are compared with, around the number.
    """

    key: int | str
    ratio: float
    who: str
    what: str


class CollapseWatch(L.Callback):
    """Warns when samples become alike (mode collapse), and can end the run then.

    Every `every_n_steps` batches a few samples are drawn with the raw weights, which an average would follow late, and
    by the sampler's draft. Their variety is the mean distance to the nearest other one, on images averaged down to 8x8,
    over the same of as many real images. A constant generator has 0, one of a few images almost 0, real images 1.

    A model that is asked for classes, or for nothing, is compared class by class with the first batches' images. Logs
    `train/variety`, the mean over classes, and `train/variety_min`.

    Any other model is asked for what a few images of the batch at hand come with: once each, and compared with these
    images, whose conditions differ as much. That is `train/variety`: samples that follow a picture closely have as much
    of it as the images, so that they raise no alarm. Where all conditions are made of names (classes, captions, flags),
    which never fix an image, it is asked for some of them by other seeds too, and samples of one condition are compared
    with the same images: `train/seed_variety`. Numbers, pictures and masks may fix the image, so there samples of one
    condition may rightly be alike, and are not looked at. A quarter of the threshold counts for both: drawn shapes
    under captions that state all that can be named vary 0.38 times as much as all of them, and small nets that learn
    well have had 0.10 in their first batches.

    Works in the first process; draws nothing that training draws.

    Args:
        every_n_steps: Batches between two checks.
        per_class: Samples per class, or condition, in a check.
        classes: Classes, or conditions of several seeds, per check; where there are more classes, they take turns.
        threshold: Variety below which samples are too uniform; a quarter of it where they are not of one class.
        patience: Checks in a row for which it must be so.
        warmup: Batches before which a class counts only if it has had more variety already. Later, too, such a class
            counts only if its variety has stopped growing. The same goes for conditions.
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
        self._records: dict[int | str, VarietyRecord] = {}

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
        if not isinstance(model, GenerativeModel):
            return
        if trainer.is_global_zero and classes_in_turn(model):
            self._add_real(model, batch)
        if model.batches_seen % self.every_n_steps == 0:
            if trainer.is_global_zero:
                self._check(model, batch)
            self._decide(trainer)

    # ------------------------------------------------------------------ real images

    def _add_real(self, model: GenerativeModel, batch: Batch) -> None:
        self._batches += 1
        if self._batches > REFERENCE_BATCHES:
            return
        full = {key for key, record in self._records.items() if record.groups >= GROUPS}
        missing = set(range(num_classes(model))) - full
        if not missing:
            return
        rows = reduced(batch["image"])
        label = batch["cond"]["label"].cpu() if model.condition_keys else torch.zeros(len(rows), dtype=torch.int64)
        for k in missing & set(label.tolist()):
            self._record(k).add_real(rows[label == k], self.per_class)

    def _record(self, key: int | str) -> VarietyRecord:
        return self._records.setdefault(key, VarietyRecord())

    # ------------------------------------------------------------------ samples

    def _check(self, model: GenerativeModel, batch: Batch) -> None:
        """Measure samples, judge, warn, and log."""
        by_class = classes_in_turn(model)
        threshold = self.threshold if by_class else SHARE * self.threshold
        for look in self._by_class(model) if by_class else self._by_condition(model, batch):
            record = self._record(look.key)
            record.judge(look.ratio, threshold, young=model.batches_seen < self.warmup)
            self._warn(model, look, record)
        found = {key: record.now for key, record in self._records.items() if record.now is not None}
        if by_class and found:
            model.log_metrics(
                {"train/variety": sum(found.values()) / len(found), "train/variety_min": min(found.values())}
            )
        elif found:
            model.log_metrics({NAMES[str(key)]: value for key, value in found.items()})

    def _by_class(self, model: GenerativeModel) -> list[Look]:
        """Look at the classes whose turn it is."""
        check = model.batches_seen // self.every_n_steps
        total = num_classes(model)
        turn = {(check * self.classes + i) % total for i in range(min(self.classes, total))}
        known = [k for k in sorted(turn) if self._record(k).real_sum > 0]
        if not known:
            return []
        label = torch.tensor(known).repeat_interleave(self.per_class)
        rows = self._draw(model, {"label": label} if model.condition_keys else {}, len(label))
        looks = []
        for k, part in zip(known, rows.split(self.per_class), strict=True):
            real = self._record(k).real_sum / self._record(k).groups
            who = f"class {model.cond_spec['label']['names'][k]}" if model.condition_keys else "the generator"
            looks.append(Look(k, variety(part) / real, who, CLASS))
        return looks

    def _by_condition(self, model: GenerativeModel, batch: Batch) -> list[Look]:
        """Look at samples of several conditions, and at several of one where it leaves the image open."""
        count = min(self.per_class, len(batch["image"]))
        real = variety(reduced(batch["image"][:count])) if count > 1 else 0.0
        if not 0 < real < torch.inf:
            return []
        asked = {key: batch["cond"][key][:count] for key in model.condition_keys}
        rows = self._draw(model, asked, count)
        looks = [Look("conditions", variety(rows) / real, *GENERATOR)]
        if leaves_open(model):
            some = {key: value[: self.classes].repeat_interleave(count, 0) for key, value in asked.items()}
            parts = self._draw(model, some, count * min(self.classes, count)).split(count)
            looks.append(Look("seeds", sum(map(variety, parts)) / len(parts) / real, *SEED))
        return looks

    def _draw(self, model: GenerativeModel, cond: Condition, count: int) -> Tensor:
        """Sample and reduce, with seeds of this batch's own."""
        key = run_seed(), "variety", model.batches_seen
        seeds = torch.tensor([derive(*key, i) for i in range(count)])
        with model.drafting():
            return reduced(model.sample(cond, seeds=seeds))

    def _warn(self, model: GenerativeModel, look: Look, record: VarietyRecord) -> None:
        """Tell of a collapse, and of its end."""
        how = look.what.format(f"{look.ratio:.2f}")
        if record.low >= self.patience and not record.collapsed:
            record.collapsed = True
            model.print(f"warning, batch {model.batches_seen:,}: {look.who} has collapsed: {how}")
        elif record.low == 0 and record.collapsed:
            record.collapsed = False
            model.print(f"batch {model.batches_seen:,}: {look.who} has recovered: {how}")

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
        self._records = {k: VarietyRecord(**values) for k, values in state_dict["records"].items()}


def num_classes(model: GenerativeModel) -> int:
    """Return the number of classes that the model is asked for; 1 without labels."""
    return len(model.cond_spec["label"]["names"]) if model.condition_keys else 1


def leaves_open(model: GenerativeModel) -> bool:
    """Tell whether all that a model is asked for is made of names: classes, captions, and attributes that are flags."""
    spec = model.cond_spec.get("attributes", {})
    flags = set(spec.get("names", ())) <= set(spec.get("flags", ()))
    return set(model.condition_keys) <= ({"label", "text", "attributes"} if flags else {"label", "text"})
