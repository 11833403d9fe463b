"""The sections that are charts: intervals, fidelity against variety, and scores during training."""

from __future__ import annotations

from collections.abc import Sequence

from condgen.report.charts import Line, Spot, intervals, lines, scatter
from condgen.report.comparison import Comparison
from condgen.report.history import Series, against_time
from condgen.report.markup import Html, figure, join, note, section, small, swatch, tag
from condgen.report.runs import Run


def interval_chart(comparison: Comparison, name: str) -> Html:
    """Draw the intervals of one score."""
    found = [(i, run, run.scores[name]) for i, run in enumerate(comparison.runs) if name in run.scores]
    spots = [Spot(i, run.name, row.value, row.low, row.high) for i, run, row in found]
    floor = next((row.floor for _, _, row in found if row.floor is not None), None)
    better = found[0][2].better
    return figure(
        intervals(spots, floor, f"{name} of {names(comparison)}"), join([name, small(f"{better} is better")]), "plot"
    )


def trade_off(comparison: Comparison) -> Html:
    """Draw fidelity against variety: precision against recall, and density against coverage."""
    figures = []
    for across, up in (("recall", "precision"), ("coverage", "density")):
        found = [(i, run) for i, run in enumerate(comparison.runs) if across in run.scores and up in run.scores]
        if not found:
            continue
        pairs = [(spot(i, run, across), spot(i, run, up)) for i, run in found]
        first = found[0][1].scores
        floors = first[across].floor, first[up].floor
        reference = (floors[0], floors[1]) if floors[0] is not None and floors[1] is not None else None
        alt = f"{up} against {across} of {names(comparison)}"
        figures.append(figure(scatter(pairs, reference, (across, up), alt), f"{up} against {across}", "plot"))
    if not figures:
        return section("trade-off", "Fidelity and variety", note("Left out: no run has precision and recall."))
    text = note(
        "Up: samples look real. Right: samples cover the real images. Hollow: training images. Bars: 95% intervals."
    )
    return section("trade-off", "Fidelity and variety", text, legend(comparison), charts_of(figures))


def spot(i: int, run: Run, name: str) -> Spot:
    """Take a score of a run."""
    row = run.scores[name]
    return Spot(i, run.name, row.value, row.low, row.high)


def curves(comparison: Comparison) -> Html:
    """Draw the scores measured during training, against images seen and against time."""
    logged = dict.fromkeys(name for history in comparison.histories for name in history if name.startswith("val/"))
    if not logged:
        return section(
            "curves",
            "Training",
            note("Left out: no run has a log with scores, which validation during training writes."),
        )
    by_images, by_time = [], []
    scored = [f"val/{name}" for run in comparison.runs for name in run.scores]
    for name in sorted(logged, key=lambda name: scored.index(name) if name in scored else len(scored)):
        found = [
            (i, history[name], history.get("time/seconds"))
            for i, history in enumerate(comparison.histories)
            if name in history
        ]
        by_images.append(curve_chart(comparison, name, [(i, points) for i, points, _ in found], "images seen"))
        timed = [(i, against_time(points, seconds)) for i, points, seconds in found if seconds]
        if timed:
            by_time.append(curve_chart(comparison, name, timed, "minutes of training"))
    untimed = [
        run.name
        for run, history in zip(comparison.runs, comparison.histories, strict=True)
        if "time/seconds" not in history
    ]
    missing = [note(f"Without training time in the log: {', '.join(untimed)}.")] if untimed else []
    return section(
        "curves",
        "Training",
        note("Scores on the validation split while the models learned."),
        legend(comparison),
        tag("h3", "Against images seen"),
        charts_of(by_images),
        tag("h3", "Against training time, evaluation left out"),
        charts_of(by_time),
        *missing,
    )


def curve_chart(comparison: Comparison, name: str, found: Sequence[tuple[int, Series]], x_title: str) -> Html:
    """Draw one score of all runs that have it."""
    series = [Line(i, comparison.runs[i].name, points) for i, points in found]
    short = name.removeprefix("val/")
    better = next((f"{run.scores[short].better} is better" for run in comparison.runs if short in run.scores), "")
    caption = join([short, small(better)])
    return figure(lines(series, x_title, f"{short} of {names(comparison)} against {x_title}"), caption, "plot")


def legend(comparison: Comparison) -> Html:
    """Name the colours and marks."""
    items = [tag("span", swatch(i), name, at={"class": "run"}) for i, name in enumerate(comparison.names)]
    return tag("p", *items, at={"class": "legend"})


def charts_of(figures: Sequence[Html]) -> Html:
    """Lay charts out side by side."""
    return tag("div", *figures, at={"class": "charts"})


def names(comparison: Comparison) -> str:
    """Name all runs in words."""
    return ", ".join(comparison.names)
