"""The page: one HTML file that needs nothing else, and the table in Markdown."""

from __future__ import annotations

from pathlib import Path

from condgen import __version__
from condgen.report.charted import curves, trade_off
from condgen.report.classes import classes
from condgen.report.comparison import Comparison
from condgen.report.markup import Html, tag
from condgen.report.pictured import neighbours, samples
from condgen.report.protocol import show
from condgen.report.sections import cost, overview, protocol, scores, warnings
from condgen.report.tables import to_markdown

STYLE = Path(__file__).with_name("style.css")
SECTIONS = (overview, scores, warnings, samples, trade_off, curves, neighbours, classes, cost, protocol)
LINKS = {
    "scores": "Scores",
    "warnings": "Warnings",
    "samples": "Samples",
    "trade-off": "Fidelity and variety",
    "curves": "Training",
    "neighbours": "Nearest training images",
    "classes": "Classes",
    "cost": "Cost",
    "protocol": "Protocol",
}


def to_html(comparison: Comparison) -> str:
    """Write the whole page."""
    heading = f"{len(comparison.runs)} runs compared"
    links = [tag("a", text, at={"href": f"#{name}"}) for name, text in LINKS.items()]
    head = tag(
        "head",
        tag("meta", at={"charset": "utf-8"}),
        tag("meta", at={"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        tag("meta", at={"name": "color-scheme", "content": "light dark"}),
        tag("title", f"{heading}: {', '.join(comparison.names)}"),
        tag("style", Html(STYLE.read_text())),
    )
    body = tag(
        "body",
        tag(
            "header", tag("h1", heading), tag("p", setting(comparison), at={"class": "lede"}), unlike_banner(comparison)
        ),
        tag("nav", *links, at={"aria-label": "Sections"}),
        tag("main", *(make(comparison) for make in SECTIONS)),
        tag("footer", f"condgen {__version__}, condgen compare"),
    )
    return "<!doctype html>\n" + tag("html", head, body, at={"lang": "en"}) + "\n"


def setting(comparison: Comparison) -> str:
    """Say in a sentence how scores were measured, if that is one way for all; else name the runs."""
    card = comparison.runs[0].protocol
    if comparison.differences or any(card.get(key) is None for key in ("n_samples", "n_real", "split", "data")):
        return ", ".join(comparison.names)
    extractor = (card.get("extractor") or {}).get("name")
    seen = f", seen by the extractor {extractor}" if extractor else ""
    real = f"{card['n_real']:,} {card['split']} images of {card['data']}"
    return f"{card['n_samples']:,} samples of each run against {real}{seen}."


def unlike_banner(comparison: Comparison) -> Html:
    """Warn, for all to see, that scores were not measured in the same way."""
    if not comparison.differences:
        return Html("")
    items = []
    for field, values in comparison.differences:
        shared: dict[str, list[str]] = {}
        for name, value in zip(comparison.names, values, strict=True):
            shared.setdefault(show(value), []).append(name)
        text = "; ".join(f"{value} in {', '.join(names)}" for value, names in shared.items())
        items.append(tag("li", tag("strong", field), f": {text}"))
    title = tag(
        "strong", "These scores are not comparable: the runs were compared by force, and their protocols differ."
    )
    return tag("div", title, tag("ul", *items), at={"class": "unlike", "role": "alert"})


def to_markdown_file(comparison: Comparison) -> str:
    """Write scores and costs in Markdown, under a warning where protocols differ."""
    lines = [f"<!-- condgen compare -->\n\n{setting(comparison)}\n"]
    if comparison.differences:
        fields = ", ".join(difference.field for difference in comparison.differences)
        lines.append(f"> **Not comparable: the protocols differ** in {fields}.\n")
    lines.append(to_markdown("score", comparison.score_columns, comparison.scores))
    lines.append(to_markdown("cost", comparison.names, comparison.costs))
    if comparison.warnings:
        lines.append("".join(f"- {line} ({', '.join(names)})\n" for line, names in comparison.warnings.items()))
    return "\n".join(lines)
