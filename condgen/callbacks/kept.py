"""Which checkpoints a run keeps by their own names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

NAME = re.compile(r"images=[0-9]{9,}\.ckpt")
"""How `checkpoint_name` names a checkpoint."""


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

    def restore(self, scores: Mapping[str, float]) -> None:
        """Go on with the scores of a checkpoint. Files that are named here may be removed, so these are a run's own.

        Raises:
            ValueError: If a name is not one that condgen gives, or a score is no number.
        """
        for name, score in scores.items():
            if not NAME.fullmatch(str(name)) or not isinstance(score, float):
                what = f"{str(name)[:100]!r} by {str(score)[:20]!r}"
                raise ValueError(f"the checkpoint is damaged: it ranks {what}, not images=000064000.ckpt by a number")
        self.scores = dict(scores)

    def on_disk(self) -> dict[str, float]:
        """Return the scores of those files that are there."""
        return {name: score for name, score in self.scores.items() if (self.folder / name).is_file()}


def checkpoint_name(images_seen: int) -> str:
    """Name a checkpoint so that names sort by progress."""
    return f"images={images_seen:09d}.ckpt"
