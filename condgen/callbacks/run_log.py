"""The losses and scores of a run, in one file that a killed process leaves whole and a resumed one goes on with."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any, cast

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from condgen.whole import whole_file

Row = dict[str, Any]


class RunLog(CSVLogger):
    """Writes `metrics.csv` into a run's folder, each row when it comes, columns in alphabetical order.

    Args:
        folder: The run's folder; rows that are there stay.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, name="", version="")

    @property
    @rank_zero_experiment
    def experiment(self) -> RowWriter:
        """The writer of the file, in the first process."""
        if self._experiment is None:
            self._experiment = RowWriter(self.log_dir)
        return cast(RowWriter, self._experiment)

    def save(self) -> None:
        """Do nothing: all is written already."""


class RowWriter(ExperimentWriter):
    """Appends rows; a row with a new column has the file written anew.

    Args:
        log_dir: Folder of the file.

    Attributes:
        count: Rows in the file.
    """

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self.path = Path(self.metrics_file_path)
        rows = read_rows(self.path)
        self.count = len(rows)
        if rows:
            self._write(rows)

    def _check_log_dir_exists(self) -> None:
        """Let what is there be."""

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        """Write a row."""
        row: Row = {**{name: float(value) for name, value in metrics_dict.items()}, "step": step}
        if set(row) <= set(self.metrics_keys):
            with self.path.open("a", newline="") as file:
                file.write(csv_lines([row], self.metrics_keys))
        else:
            self._write([*read_rows(self.path), row])
        self.count += 1

    def keep(self, count: int | None) -> None:
        """Forget all rows after the first `count`, and the columns that only those had; null for none."""
        if count is not None and count < self.count:
            self._write(read_rows(self.path)[:count])
            self.count = count

    def _write(self, rows: list[Row]) -> None:
        self.metrics_keys = sorted({key for row in rows for key, value in row.items() if value != ""})
        with whole_file(self.path) as file:
            head = {key: key for key in self.metrics_keys}
            file.write(csv_lines([head, *rows], self.metrics_keys).encode())


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a file, without a last one that was not written to its end; none where there is no file."""
    if not path.is_file():
        return []
    text = path.read_text()
    return list(csv.DictReader(StringIO(text[: text.rfind("\n") + 1])))


def csv_lines(rows: Iterable[Row], columns: list[str]) -> str:
    """Write rows as lines, what is missing as nothing."""
    file = StringIO()
    csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n").writerows(rows)
    return file.getvalue()
