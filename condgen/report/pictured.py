"""The sections that are pictures: samples side by side, and the training images nearest to them."""

from __future__ import annotations

from statistics import median

from condgen.report.comparison import Comparison
from condgen.report.markup import Html, figure, join, note, picture, run_name, section, small, table, tag
from condgen.report.samples import COLUMNS, Drawn
from condgen.report.tables import number


def samples(comparison: Comparison) -> Html:
    """Show grids side by side."""
    figures = []
    for i, (run, drawn) in enumerate(zip(comparison.runs, comparison.drawn, strict=True)):
        caption = join([run_name(i, run.name), small(drawn.origin)])
        content = tag("div", "no picture", at={"class": "missing"})
        if drawn.sheet is not None:
            content = picture(drawn.sheet, f"Grid of samples of {run.name}. {layout(drawn)}")
        figures.append(figure(content, caption))
    shown = next((drawn for drawn in comparison.drawn if drawn.images is not None), None)
    text = (
        layout(shown) + " The same place has the same seed and the same condition in every grid drawn anew."
        if shown
        else ""
    )
    return section("samples", "Samples", note(text), tag("div", *figures, at={"class": "grids"}))


def layout(drawn: Drawn) -> str:
    """Say what the rows and columns of a grid are."""
    if not drawn.rows:
        return f"Seeds 0 to {COLUMNS - 1}." if drawn.images is not None else ""
    return f"A row per class ({', '.join(drawn.rows)}), a column per seed (0 to {COLUMNS - 1})."


def neighbours(comparison: Comparison) -> Html:
    """Show samples above the training images that are nearest to them."""
    figures, rows = [], []
    left_out: dict[str, list[str]] = {}
    for i, (run, near) in enumerate(zip(comparison.runs, comparison.near, strict=True)):
        if isinstance(near, str):
            left_out.setdefault(near, []).append(run.name)
            continue
        alt = f"Samples of {run.name} above the training images nearest to them"
        caption = join([run_name(i, run.name), small(f"By {near.by}.")])
        figures.append(figure(picture(near.sheet, alt), caption, "wide"))
        values = (median(near.distance), min(near.distance), near.held_out)
        cells = (tag("td", number(value, 2), at={"class": "num"}) for value in values)
        rows.append([run_name(i, run.name), tag("td", near.by.partition(",")[0]), *cells])
    columns = ("run", "by", "samples, median", "samples, least", "held-out images, median")
    text = (
        "Above: samples by seed 0, one per class where there are classes. Below: the training image nearest to each, "
        "by the features that the run was scored on, or by pixels where these cannot be had. Distances are Euclidean "
        "between features, and root mean square differences in grey levels between pixels; samples much nearer than "
        "held-out images would be copies."
    )
    reasons = [tag("li", f"{', '.join(names)}: left out, because {why}") for why, names in left_out.items()]
    shown = [note(text), tag("div", *figures, at={"class": "grids"}), table(columns, rows)] if figures else []
    return section(
        "neighbours",
        "Nearest training images",
        *shown,
        tag("ul", *reasons, at={"class": "left-out"}) if reasons else "",
    )
