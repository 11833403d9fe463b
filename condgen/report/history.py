"""The log of a run, over all the parts that it was trained in."""

from __future__ import annotations

import csv
import re
from math import isfinite
from pathlib import Path

import numpy as np

Series = list[tuple[float, float]]
"""(images seen, value), in order."""
RESUMED = re.compile(r"^# checkpoint: (.+)$", re.MULTILINE)


def read_history(folder: Path) -> dict[str, Series]:
    """Read each column of a run's `metrics.csv`; a run that went on from another begins with that one's rows."""
    series: dict[str, Series] = {}
    end = float("inf")
    for part in training_parts(folder):
        rows = read_log(part)
        first = min((points[0][0] for points in rows.values()), default=end)
        for name, points in rows.items():
            series[name] = [point for point in points if point[0] < end] + series.get(name, [])
        end = min(end, first)
    return {name: points for name, points in series.items() if points}


def training_parts(folder: Path) -> list[Path]:
    """List a run and those that it went on from, latest first, as far as they are here."""
    parts: list[Path] = []
    current: Path | None = folder
    while current is not None and current not in parts:
        parts.append(current)
        config = current / "config.yaml"
        found = RESUMED.search(config.read_text()) if config.is_file() else None
        before = Path(found[1].strip()).parents if found else ()
        places = [before[1], current.parent / before[1].name] if len(before) > 1 else []
        current = next((place for place in places if (place / "metrics.csv").is_file()), None)
    return parts


def read_log(folder: Path) -> dict[str, Series]:
    """Read the columns of one `metrics.csv`; none where there is no file, and no values that are not finite."""
    file = folder / "metrics.csv"
    series: dict[str, Series] = {}
    if file.is_file():
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                for name, text in row.items():
                    if name != "step" and text and isfinite(number := read_number(text, file)):
                        series.setdefault(name, []).append((read_number(row["step"], file), number))
    return series


def read_number(text: str, file: Path) -> float:
    """Read a number, naming the file where it is none."""
    try:
        return float(text)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged: {text!r} is no number") from error


def against_time(points: Series, seconds: Series) -> Series:
    """Put training minutes in place of images seen."""
    images, elapsed = np.array(seconds).T
    at = np.interp([point[0] for point in points], images, elapsed)
    return [(float(second) / 60, value) for second, (_, value) in zip(at, points, strict=True)]
