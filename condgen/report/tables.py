"""The tables that stand in the page, in Markdown, and on the terminal alike."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite, log10
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from condgen.report.history import Series
from condgen.report.runs import Run, ScoreRow

REAL_IMAGES = "real images"
NOTHING = "–"
ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


class Entry(NamedTuple):
    """A cell: a value, its interval or unit, and whether it is the best of its row beyond doubt."""

    text: str
    detail: str = ""
    best: bool = False


class Row(NamedTuple):
    """A row: a quantity, what more is to be said of it, an entry per column, and what is good."""

    name: str
    detail: str
    entries: list[Entry]
    better: str = ""


def score_rows(runs: Sequence[Run], *, alike: bool) -> list[Row]:
    """Lay out the scores of runs, and those of real images last.

    Args:
        runs: What is compared.
        alike: Whether their protocols are; if they are not, no value is called the best.
    """
    table = []
    for name in dict.fromkeys(name for run in runs for name in run.scores):
        found = [run.scores.get(name) for run in runs]
        values = [value for row in found if row for value in (row.value, row.floor)]
        digits = max((decimals([value]) for value in values if value), default=4)
        first = best(found) if alike else None
        entries = [score_entry(row, digits, best=i == first) for i, row in enumerate(found)]
        known = next(row for row in found if row is not None)
        unit = f", {known.unit}" if known.unit else ""
        table.append(Row(name, f"{known.better} is better{unit}", [*entries, floor_entry(found, digits)], known.better))
    return table


def score_entry(row: ScoreRow | None, digits: int, *, best: bool) -> Entry:
    """Write a score and its interval."""
    if row is None:
        return Entry(NOTHING)
    ends = (
        f"{number(row.low, digits)} to {number(row.high, digits)}"
        if row.low is not None and row.high is not None
        else ""
    )
    return Entry(number(row.value, digits), ends, best)


def floor_entry(rows: Sequence[ScoreRow | None], digits: int) -> Entry:
    """Write the score of real images, which belongs to the protocol: more than one where runs differ in it."""
    floors = {number(row.floor, digits): row for row in rows if row is not None and row.floor is not None}
    if not floors:
        return Entry(NOTHING)
    (_, row), *others = floors.items()
    spread = f"± {number(row.floor_sd, digits)}" if row.floor_sd and not others else ""
    return Entry(" or ".join(floors), spread)


def best(rows: Sequence[ScoreRow | None]) -> int | None:
    """Return the run whose interval lies wholly on the good side of every other one; null if none does."""
    known = [(i, row) for i, row in enumerate(rows) if row is not None]
    if len(known) < 2 or any(row.low is None or row.high is None or row.unit != known[0][1].unit for _, row in known):
        return None
    for i, row in known:
        others = [other for j, other in known if j != i]
        if all(clearly_better(row, other) for other in others):
            return i
    return None


def clearly_better(row: ScoreRow, other: ScoreRow) -> bool:
    """Tell whether one interval lies wholly on the good side of another."""
    if row.low is None or row.high is None or other.low is None or other.high is None:
        return False
    return row.low > other.high if row.better == "higher" else row.high < other.low


def cost_rows(runs: Sequence[Run], histories: Sequence[dict[str, Series]]) -> list[Row]:
    """Lay out what each run costs."""
    costs = [dict(run.cost) for run in runs]
    for run, cost, history in zip(runs, costs, histories, strict=True):
        logged = history.get("time/seconds")
        if cost.get("training_seconds") is None and logged:
            cost["training_seconds"] = logged[-1][1]
        seconds, images = cost.get("training_seconds"), run.protocol.get("images_seen")
        if cost.get("images_per_second") is None and seconds and images:
            cost["images_per_second"] = images / seconds
        cost["training_minutes"] = None if seconds is None else seconds / 60
    kinds = {
        "training_minutes": ("training minutes", "evaluation left out"),
        "images_per_second": ("training images/s", ""),
        "parameters": ("parameters", "of what samples"),
        "sampling_ms_per_image": ("sampling ms/image", ""),
    }
    return [Row(name, unit, [amount(cost.get(key)) for cost in costs]) for key, (name, unit) in kinds.items()]


def amount(value: float | None) -> Entry:
    """Write an amount to three digits, a count in full."""
    if value is None:
        return Entry(NOTHING)
    return Entry(f"{value:,}" if isinstance(value, int) else number(value, max(0, decimals([value]) - 1)))


def decimals(values: Sequence[float | None]) -> int:
    """Return the decimals that show the largest of some values to about four digits."""
    known = [abs(value) for value in values if value is not None and isfinite(value)]
    largest = max(known, default=0.0)
    return max(0, min(4, 3 - floor(log10(largest) - 1e-9))) if largest else 4


def number(value: float | None, digits: int) -> str:
    """Write a number with a true minus sign; one that is not there or not finite is a dash."""
    if value is None:
        return NOTHING
    return f"{value:,.{digits}f}".replace("-", "−") if isfinite(value) else NOTHING


# ---------------------------------------------------------------------- Markdown and terminal


def to_markdown(heading: str, columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Write a table in Markdown."""
    lines = ["| " + " | ".join(map(escaped, (heading, *columns))) + " |", "| --- |" + " ---: |" * len(columns)]
    for row in rows:
        cells = []
        for text, detail, is_best in row.entries:
            cells.append((f"**{text}**" if is_best else text) + (f" ({detail})" if detail else ""))
        lines.append(
            "| " + " | ".join(map(escaped, (f"{row.name} ({row.detail})" if row.detail else row.name, *cells))) + " |"
        )
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Keep a text inside its cell, and free of markup."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def to_terminal(title: str, heading: str, columns: Sequence[str], rows: Sequence[Row], width: int) -> Table:
    """Lay a table out for the terminal, without intervals where it is too narrow for them."""
    detailed = width >= 28 + 20 * len(columns)
    marked = any(entry.best for row in rows for entry in row.entries)
    table = Table(title=Text(title), box=SIMPLE_HEAD, pad_edge=False, caption="* best of its row" if marked else None)
    table.add_column(heading, overflow="fold")
    for column in columns:
        table.add_column(Text(column), justify="right", overflow="fold")
    for row in rows:
        cells = [Text(entry.text + ("*" if entry.best else " " if marked else "")) for entry in row.entries]
        for cell, entry in zip(cells, row.entries, strict=True):
            cell.append(shown(entry.detail, detailed), "dim")
        table.add_row(Text(row.name + ARROWS[row.better]).append(shown(row.detail, detailed), "dim"), *cells)
    return table


def shown(detail: str, detailed: bool) -> str:
    """Put a detail on a line of its own."""
    return f"\n{detail}" if detail and detailed else ""
