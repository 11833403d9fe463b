"""HTML as text that cannot be broken by what is put into it."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from torch import Tensor

from condgen.pictures import to_pil

EMPTY = frozenset({"img", "meta", "line", "rect", "circle", "polyline", "polygon"})
COLOURS = 8
FORMS: tuple[tuple[tuple[float, float], ...], ...] = (
    (),
    ((-4.2, -4.2), (4.2, -4.2), (4.2, 4.2), (-4.2, 4.2)),
    ((0.0, -5.5), (5.2, 4.0), (-5.2, 4.0)),
    ((0.0, -5.8), (5.8, 0.0), (0.0, 5.8), (-5.8, 0.0)),
    ((-5.2, -4.0), (5.2, -4.0), (0.0, 5.5)),
)
"""Corners of the runs' marks; the first is a circle. There are 8 colours and 5 forms, so 40 runs can be told apart."""


class Html(str):
    """Markup; any other string is text, and is escaped when it is put into an element."""

    __slots__ = ()


class Column(NamedTuple):
    """A heading of a table; `run` colours it as that run."""

    title: str
    run: int | None = None


def join(parts: Iterable[str]) -> Html:
    """Put markup, and text to be escaped, one after another."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def tag(name: str, *content: str, at: Mapping[str, object] | None = None) -> Html:
    """Make an element; its attributes are escaped, and left out where they are null."""
    pairs = [f' {key}="{escape(str(value))}"' for key, value in (at or {}).items() if value is not None]
    opening = f"<{name}{''.join(pairs)}"
    return Html(f"{opening}/>" if name in EMPTY else f"{opening}>{join(content)}</{name}>")


def section(name: str, title: str, *content: str) -> Html:
    """Make a section that can be linked to."""
    return tag("section", tag("h2", title), *content, at={"id": name, "aria-label": title})


def note(*content: str) -> Html:
    """Make a paragraph that explains."""
    return tag("p", *content, at={"class": "note"})


def small(text: str) -> Html:
    """Write a detail, if there is one."""
    return tag("small", text) if text else Html("")


def swatch(run: int) -> Html:
    """Show a run's colour and mark."""
    return tag("svg", mark(run, 7, 7), at={"class": "swatch", "viewBox": "0 0 14 14", "aria-hidden": "true"})


def run_name(run: int, name: str) -> Html:
    """Name a run beside its colour."""
    return tag("span", swatch(run), name, at={"class": "run"})


def mark(run: int, x: float, y: float) -> Html:
    """Draw a run's mark: its colour and, for eyes that cannot tell colours apart, its form."""
    at: dict[str, object] = {"class": f"mark r{run % COLOURS}"}
    corners = FORMS[run % len(FORMS)]
    if not corners:
        return tag("circle", at={**at, "cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "4.6"})
    return tag("polygon", at={**at, "points": " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)})


def table(
    columns: Sequence[Column | str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    kind: str = "",
    label: str = "table",
) -> Html:
    """Make a table that scrolls by itself where it is too wide; a cell may be a whole `td`, and the first is a `th`."""
    heads = [column if isinstance(column, Column) else Column(column) for column in columns]
    top = [tag("th", run_name(c.run, c.title) if c.run is not None else c.title, at={"scope": "col"}) for c in heads]
    body = [tag("tr", tag("th", first, at={"scope": "row"}), *map(cell, rest)) for first, *rest in rows]
    parts = [tag("caption", caption)] if caption else []
    inner = tag("table", *parts, tag("thead", tag("tr", *top)), tag("tbody", *body), at={"class": kind or None})
    return tag("div", inner, at={"class": "scroll", "tabindex": "0", "role": "region", "aria-label": caption or label})


def cell(content: str) -> Html:
    """Make a cell, unless it is one already."""
    return content if isinstance(content, Html) and content.startswith("<td") else tag("td", content)


def figure(content: str, caption: str, kind: str = "") -> Html:
    """Make a figure with a caption."""
    return tag("figure", content, tag("figcaption", caption), at={"class": kind or None})


def picture(image: Tensor | bytes, alt: str) -> Html:
    """Put a uint8 image (C, H, W), or the bytes of a PNG, into the page itself."""
    if isinstance(image, Tensor):
        buffer = io.BytesIO()
        to_pil(image).save(buffer, format="PNG", optimize=True)
        image = buffer.getvalue()
    return tag("img", at={"src": f"data:image/png;base64,{b64encode(image).decode()}", "alt": alt})
