"""Learning-rate schedules, as functions of images seen, so that they survive a change of batch size and a resume."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import cos, pi

from torch.optim import Optimizer


class Schedule(ABC):
    """Factor of the initial learning rate."""

    @abstractmethod
    def __call__(self, images_seen: int) -> float:
        """Return the factor after `images_seen` images."""

    def apply(self, optimizer: Optimizer, images_seen: int) -> None:
        """Set the learning rate of every group to its initial one times the factor."""
        factor = self(images_seen)
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


@dataclass(frozen=True)
class LinearDecay(Schedule):
    """Constant up to `start` images, then linear to `final` at `stop` images and beyond."""

    start: int
    stop: int
    final: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"LinearDecay needs 0 <= start < stop, got start={self.start} and stop={self.stop}")

    def __call__(self, images_seen: int) -> float:
        """Return the factor."""
        share = (images_seen - self.start) / (self.stop - self.start)
        return 1.0 + (self.final - 1.0) * min(1.0, max(0.0, share))


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """Linear warm-up over `warmup` images, then half a cosine to `final` at `stop` images and beyond."""

    stop: int
    warmup: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < self.stop:
            raise ValueError(f"CosineDecay needs 0 <= warmup < stop, got warmup={self.warmup} and stop={self.stop}")

    def __call__(self, images_seen: int) -> float:
        """Return the factor."""
        if images_seen < self.warmup:
            return (images_seen + 1) / (self.warmup + 1)
        share = min(1.0, (images_seen - self.warmup) / (self.stop - self.warmup))
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + cos(pi * share))
