"""The sections that are tables: runs, scores, warnings, cost, protocol."""

from __future__ import annotations

from collections import Counter

from condgen.report.charted import charts_of, interval_chart
from condgen.report.comparison import Comparison
from condgen.report.markup import Column, Html, join, note, run_name, section, small, table, tag
from condgen.report.protocol import ABSENT, flatten, show
from condgen.report.runs import Run
from condgen.report.tables import NOTHING, REAL_IMAGES, Entry, Row


def overview(comparison: Comparison) -> Html:
    """Say what each run is; the colours and marks here are those of the whole page."""
    rows = []
    for i, run in enumerate(comparison.runs):
        card = {key: value for key, value in run.protocol.items() if value is not None}
        facts = (
            card.get("model", NOTHING),
            f"{card['images_seen']:,}" if "images_seen" in card else NOTHING,
            show(card["ema"]) if "ema" in card else NOTHING,
            tag("td", sampler_name(run), at={"class": "sampler"}),
            str(card.get("run_seed", NOTHING)),
            tag("td", tag("code", str(run.folder)), at={"class": "path"}),
        )
        rows.append((run_name(i, run.name), *facts))
    columns = ("run", "model", "images seen", "averaged weights", "sampler", "seed", "scores in")
    return section("runs", "Runs", table(columns, rows, kind="facts"))


def sampler_name(run: Run) -> str:
    """Name a sampler and its settings; a family with but one way has none."""
    card = dict(flatten({key: value for key, value in (run.protocol.get("sampler") or {}).items() if key != "chunk"}))
    kind = str(card.pop("class_path", NOTHING)).rpartition(".")[2]
    settings = ", ".join(f"{key} {show(value)}" for key, value in card.items())
    return f"{kind} ({settings})" if settings else kind


def scores(comparison: Comparison) -> Html:
    """Show all scores as a table, and their intervals as charts."""
    columns = [Column("score"), *run_columns(comparison), Column(REAL_IMAGES)]
    rows = [score_cells(row) for row in comparison.scores]
    apart = (
        "Bold and tinted: the best value of the row, where its interval does not overlap any other. "
        if not comparison.differences
        else "No value is marked as the best, because the protocols differ. "
    )
    text = (
        "Beneath each value, its 95% interval. "
        f"{apart}Real images: the same score of real images in place of the samples, which is what a perfect "
        "generator would get; random training images, or the split's own where samples are looked at one by one."
    )
    counts = Counter(name for run in comparison.runs for name in run.scores)
    charts = [interval_chart(comparison, name) for name, count in counts.items() if count > 1]
    legend = note("Dashed: real images. Bars: 95% intervals.")
    return section(
        "scores",
        "Scores",
        table(columns, rows, kind="scores"),
        note(text),
        tag("h3", "Intervals"),
        legend,
        charts_of(charts),
    )


def score_cells(row: Row) -> list[Html]:
    """Write a row of a table, its details in small letters."""
    return [join([row.name, small(row.detail)]), *(entry_cell(entry) for entry in row.entries)]


def entry_cell(entry: Entry) -> Html:
    """Write a cell; the best one is said to be it in words too."""
    value = tag("strong", entry.text, at={"title": "best of the row"}) if entry.best else entry.text
    return tag("td", value, small(entry.detail), at={"class": "num best" if entry.best else "num"})


def warnings(comparison: Comparison) -> Html:
    """List what a reader of the scores must know."""
    items = []
    for line, concerned in comparison.warnings.items():
        who = "all runs" if len(concerned) == len(comparison.runs) else ", ".join(concerned)
        items.append(tag("li", line, small(f"in {who}")))
    content = tag("ul", *items, at={"class": "warnings"}) if items else note("None of the evaluations gave a warning.")
    return section("warnings", "Warnings", content)


def cost(comparison: Comparison) -> Html:
    """Show what each run costs."""
    rows = [score_cells(row) for row in comparison.costs]
    return section("cost", "Cost", table([Column("what"), *run_columns(comparison)], rows, kind="scores"))


def protocol(comparison: Comparison) -> Html:
    """Show what all runs share once, and what differs by run."""
    flat = [dict(flatten(run.protocol)) for run in comparison.runs]
    fields = list(dict.fromkeys(key for card in flat for key in card))
    values = {field: [card.get(field, ABSENT) for card in flat] for field in fields}
    shared = [field for field in fields if all(value == values[field][0] for value in values[field])]
    wrong = {difference.field for difference in comparison.differences}
    same = [(field, value_cell(values[field][0])) for field in shared]
    other = [
        (tag("span", field, at={"class": "wrong" if field in wrong else None}), *map(value_cell, values[field]))
        for field in fields
        if field not in shared
    ]
    return section(
        "protocol",
        "Protocol",
        tag("h3", "What differs by run"),
        table([Column("field"), *run_columns(comparison)], other, kind="facts"),
        tag("h3", "What all runs share"),
        table(("field", "value"), same, kind="facts"),
    )


def value_cell(value: object) -> Html:
    """Write a value; what is shortened can be read in full by pointing at it."""
    text = show(value)
    return tag("td", NOTHING if text == ABSENT else text, at={"title": str(value) if text.endswith("…") else None})


def run_columns(comparison: Comparison) -> list[Column]:
    """Head a column with each run's name."""
    return [Column(name, i) for i, name in enumerate(comparison.names)]
