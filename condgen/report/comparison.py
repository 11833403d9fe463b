"""All that a report shows, read and drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from condgen.report.configured import Builders
from condgen.report.history import Series, read_history
from condgen.report.neighbours import Neighbours, TrainingImages, neighbours
from condgen.report.protocol import Difference, unlike
from condgen.report.runs import Run
from condgen.report.samples import Drawn, draw
from condgen.report.tables import REAL_IMAGES, Row, cost_rows, score_rows


@dataclass(frozen=True)
class Comparison:
    """Runs, and one entry per run of what was read or drawn of each.

    differences: Fields of the protocol that should be equal, and are not.
    near: The nearest training images, or why there are none.
    """

    runs: Sequence[Run]
    differences: Sequence[Difference]
    histories: Sequence[dict[str, Series]]
    drawn: Sequence[Drawn]
    near: Sequence[Neighbours | str]

    @property
    def names(self) -> list[str]:
        """Names of the runs."""
        return [run.name for run in self.runs]

    @property
    def score_columns(self) -> list[str]:
        """Columns of the scores: the runs, then real images."""
        return [*self.names, REAL_IMAGES]

    @property
    def scores(self) -> list[Row]:
        """Rows of the scores."""
        return score_rows(self.runs, alike=not self.differences)

    @property
    def costs(self) -> list[Row]:
        """Rows of the costs."""
        return cost_rows(self.runs, self.histories)

    @property
    def warnings(self) -> dict[str, list[str]]:
        """Warnings of the evaluations, and of what was drawn, each with the runs that it concerns."""
        found: dict[str, list[str]] = {}
        for run, drawn in zip(self.runs, self.drawn, strict=True):
            changed = ["the checkpoint is not the one that was scored: its pictures do not belong to its scores"]
            for line in [*run.warnings, *(changed if drawn.changed else [])]:
                found.setdefault(line, []).append(run.name)
        return found


def compare(runs: Sequence[Run], trusted: Sequence[str], build: Builders, say: Callable[[str], None]) -> Comparison:
    """Read logs, sample each run by the same seeds, and look for its nearest training images.

    Args:
        runs: Two or more.
        trusted: Packages beside `condgen.trust.CHECKPOINT_PACKAGES` whose classes checkpoints may name.
        build: Makes the data modules and the extractors that configs of runs name.
        say: Told what is being done.
    """
    drawn = []
    for run in runs:
        say(f"samples of {run.name}")
        drawn.append(draw(run, trusted))
    images = TrainingImages(build)
    return Comparison(
        runs=runs,
        differences=unlike([run.protocol for run in runs]),
        histories=[read_history(run.trained) if run.trained is not None else {} for run in runs],
        drawn=drawn,
        near=[neighbours(run, one, images, say) for run, one in zip(runs, drawn, strict=True)],
    )
