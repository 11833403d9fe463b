"""Which checkpoints a run keeps by their own names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass
class Kept:
    """The best checkpoints by a score, or the latest.

    Attributes:
        number: How many; -1 for all, 0 for none.
        monitor: The score; null to keep the latest.
        mode: Whether a high (`max`) or a low (`min`) score is good.
        folder: Where they are.
        scores: Scores by file name.
    """

    number: int
    monitor: str | None
    mode: Literal["min", "max"]
    folder: Path = Path("checkpoints")
    scores: dict[str, float] = field(default_factory=dict)

    def names(self) -> list[str]:
        """List the files, the best or the newest first."""
        if self.monitor is None:
            return sorted((path.name for path in self.folder.glob("images=*.ckpt")), reverse=True)
        return sorted(self.scores, key=self.scores.__getitem__, reverse=self.mode == "max")

    def excess(self) -> list[str]:
        """List the files that are too many."""
        return self.names()[self.number :] if self.number >= 0 else []

    def admits(self, score: float) -> bool:
        """Tell whether a score is among the best."""
        better = [other for other in self.scores.values() if (other <= score if self.mode == "min" else other >= score)]
        return self.number == -1 or len(better) < self.number

    def on_disk(self) -> dict[str, float]:
        """Return the scores of those files that are there."""
        return {name: score for name, score in self.scores.items() if (self.folder / name).is_file()}


def checkpoint_name(images_seen: int) -> str:
    """Name a checkpoint so that names sort by progress."""
    return f"images={images_seen:09d}.ckpt"
