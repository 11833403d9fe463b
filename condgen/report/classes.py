"""Scores class by class, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from condgen.report.comparison import Comparison
from condgen.report.markup import Column, Html, figure, note, run_name, section, table, tag
from condgen.report.runs import Run
from condgen.report.tables import NOTHING, decimals, number

BETTER = {"label_accuracy": "higher", "fd": "lower", "diversity": "higher"}
TITLES = {"label_accuracy": "Label accuracy", "fd": "Fréchet distance", "diversity": "Diversity"}
MATRIX = 20
"""Classes up to which a confusion matrix is readable; with more, the most frequent confusions are listed."""
LISTED = 12


def classes(comparison: Comparison) -> Html:
    """Show tables by class, and the confusion matrix of each run."""
    known = [(i, run) for i, run in enumerate(comparison.runs) if run.per_class.get("names")]
    if not known:
        return section("classes", "Classes", note("Left out: no run has scores by class."))
    kinds = [kind for _, run in known for kind in run.per_class if kind not in ("names", "confusion")]
    tables = [class_table(known, kind) for kind in dict.fromkeys(kinds)]
    confusions = [confusion(i, run) for i, run in known if run.per_class.get("confusion")]
    shown = [tag("h3", "What was asked for, and what it was taken for"), note(MEANING), side_by_side(confusions)]
    text = note("Of the samples of each class by themselves. The stronger the colour, the worse.")
    return section("classes", "Classes", text, side_by_side(tables), *(shown if confusions else []))


MEANING = "Rows: the class that was asked for. Columns: the class that the extractor sees. Numbers are samples."


def class_table(runs: Sequence[tuple[int, Run]], kind: str) -> Html:
    """Lay out one score: a row per class, a column per run."""
    by_run = [dict(zip(run.per_class["names"], run.per_class.get(kind, []), strict=False)) for _, run in runs]
    values = [value for scores in by_run for value in scores.values()]
    digits, (low, high) = decimals(values), spread(values)
    worst_to_best = {"higher": (low, high), "lower": (high, low)}.get(BETTER.get(kind, ""))
    names = dict.fromkeys(name for scores in by_run for name in scores)
    rows = [[str(name), *(heat(scores.get(name), digits, worst_to_best) for scores in by_run)] for name in names]
    columns = [Column("class"), *(Column(run.name, i) for i, run in runs)]
    title = TITLES.get(kind, kind.replace("_", " "))
    caption = f"{title}, {BETTER[kind]} is better" if kind in BETTER else title
    return table(columns, rows, caption=caption, kind="heat")


def spread(values: Sequence[Any]) -> tuple[float, float]:
    """Return the least and the largest finite value."""
    known = [value for value in values if isinstance(value, int | float) and isfinite(value)] or [0.0]
    return min(known), max(known)


def heat(value: float | None, digits: int, scale: tuple[float, float] | None) -> Html:
    """Shade a cell by its place between the worst and the best value, if it is known which they are."""
    if value is None:
        return tag("td", NOTHING, at={"class": "num"})
    worst, best = scale or (value, value)
    share = (value - best) / (worst - best) if worst != best and isfinite(value) else 0.0
    return tag("td", number(value, digits), at={"class": "num", "style": f"--heat:{100 * share:.0f}%"})


def confusion(i: int, run: Run) -> Html:
    """Show a run's confusion matrix as a heat table, or its most frequent confusions where there are many classes."""
    names, matrix = [str(name) for name in run.per_class["names"]], run.per_class["confusion"]
    inner = confusion_table(names, matrix) if len(names) <= MATRIX else frequent_table(names, matrix)
    return figure(inner, run_name(i, run.name), "confusion")


def confusion_table(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> Html:
    """Shade each entry by its share of its row; none is written where there is nothing."""
    rows = []
    for name, counts in zip(names, matrix, strict=True):
        total = max(1, sum(counts))
        cells = []
        for other, count in zip(names, counts, strict=True):
            at = {"style": f"--heat:{100 * count / total:.0f}%", "title": f"{name} taken for {other}: {count}"}
            cells.append(tag("td", str(count) if count else "", at={**at, "class": "hit" if name == other else "miss"}))
        rows.append([name, *cells])
    return table(["", *names], rows, kind="matrix", label="confusion matrix")


def frequent_table(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> Html:
    """List the most frequent confusions."""
    found = []
    for name, counts in zip(names, matrix, strict=True):
        total = max(1, sum(counts))
        pairs = zip(names, counts, strict=True)
        found += [(count / total, name, other, count) for other, count in pairs if count and other != name]
    rows = []
    for share, name, other, count in sorted(found, key=lambda row: -row[0])[:LISTED]:
        rows.append((name, other, tag("td", f"{count} ({share:.0%})", at={"class": "num"})))
    return table(("asked for", "taken for", "samples"), rows, caption=f"The {len(rows)} most frequent confusions")


def side_by_side(parts: Sequence[Html]) -> Html:
    """Lay tables out beside each other where there is room."""
    return tag("div", *parts, at={"class": "beside"})
