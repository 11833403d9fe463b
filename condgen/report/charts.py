"""Charts as SVG: lines, points with intervals, and rows of intervals."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite, log10
from typing import NamedTuple

from condgen.report.markup import COLOURS, Html, join, mark, tag

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 10, 38
ROW, PAD = 26, 22


class Line(NamedTuple):
    """A run's curve: (x, y) in order of x."""

    run: int
    name: str
    points: Sequence[tuple[float, float]]


class Spot(NamedTuple):
    """A run's value, and its 95% interval where there is one."""

    run: int
    name: str
    value: float
    low: float | None
    high: float | None


class Axis:
    """A linear axis over whole ticks.

    Args:
        values: What it must reach; values that are not finite are left out.
        start: Pixel of the low end.
        stop: Pixel of the high end.
    """

    def __init__(self, values: Sequence[float | None], start: float, stop: float) -> None:
        known = [value for value in values if value is not None and isfinite(value)] or [0.0, 1.0]
        low, high = min(known), max(known)
        if high - low < 1e-9 * max(1.0, abs(high)):
            low, high = low - max(0.5 * abs(low), 1e-3), high + max(0.5 * abs(high), 1e-3)
        self.step = nice_step((high - low) / 4)
        first, last = floor(low / self.step + 1e-9), -floor(-high / self.step + 1e-9)
        self.ticks = [number * self.step for number in range(first, last + 1)]
        self.start, self.stop = start, stop

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self.ticks[0], self.ticks[-1]
        return self.start + (value - low) / (high - low) * (self.stop - self.start)

    def label(self, tick: float) -> str:
        """Write a tick with the decimals that its step needs, thousands as k."""
        if self.step >= 1000 and tick:
            return f"{tick / 1000:,.0f}k"
        return f"{tick + 0.0:.{max(0, -floor(log10(self.step) + 1e-9))}f}".replace("-", "−")


def nice_step(least: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, ... times a power of ten."""
    power = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def lines(series: Sequence[Line], x_title: str, alt: str) -> Html:
    """Draw one curve per run, with its mark at the end."""
    points = [point for line in series for point in line.points]
    x = Axis([0.0, *(point[0] for point in points)], LEFT, WIDTH - RIGHT)
    y = Axis([point[1] for point in points], HEIGHT - BOTTOM, TOP)
    parts = frame(x, y, x_title)
    for line in series:
        path = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in line.points)
        dash = "6 3" if line.run >= COLOURS else None
        parts.append(
            tag("polyline", at={"class": f"curve r{line.run % COLOURS}", "points": path, "stroke-dasharray": dash})
        )
    for line in series:
        a, b = line.points[-1]
        parts.append(tag("g", title(f"{line.name}: {b:.4g}"), mark(line.run, x.at(a), y.at(b))))
    return canvas(parts, WIDTH, HEIGHT, alt)


def scatter(
    pairs: Sequence[tuple[Spot, Spot]], reference: tuple[float, float] | None, titles: tuple[str, str], alt: str
) -> Html:
    """Draw runs in the plane of two scores, with intervals as bars; `reference` is a hollow mark."""
    ends = [[end for pair in pairs for end in (pair[i].value, pair[i].low, pair[i].high)] for i in (0, 1)]
    marked = reference or (None, None)
    x = Axis([*ends[0], marked[0]], LEFT + 14, WIDTH - RIGHT)
    y = Axis([*ends[1], marked[1]], HEIGHT + 60 - BOTTOM, TOP)
    parts = frame(x, y, titles[0], titles[1])
    if reference is not None:
        at = {"class": "reference", "cx": f"{x.at(reference[0]):.1f}", "cy": f"{y.at(reference[1]):.1f}", "r": "5"}
        parts.append(tag("g", title("training images"), tag("circle", at=at)))
    for across, up in pairs:
        a, b = x.at(across.value), y.at(up.value)
        (left, right), (low, high) = interval(across), interval(up)
        kind = f"bar r{across.run % COLOURS}"
        bars = segment(kind, x.at(left), b, x.at(right), b), segment(kind, a, y.at(low), a, y.at(high))
        text = f"{across.name}: {titles[0]} {across.value:.4g}, {titles[1]} {up.value:.4g}"
        parts.append(tag("g", title(text), *bars, mark(across.run, a, b)))
    return canvas(parts, WIDTH, HEIGHT + 60, alt)


def intervals(spots: Sequence[Spot], reference: float | None, alt: str) -> Html:
    """Draw one row per run: its value on its interval; a dashed line is the value of real images."""
    height = TOP + ROW * len(spots) + 24
    ends = [end for spot in spots for end in (spot.value, spot.low, spot.high)]
    x = Axis([*ends, reference], PAD, WIDTH - PAD)
    parts = [segment("grid", x.at(tick), TOP, x.at(tick), height - 22) for tick in x.ticks]
    parts += [label(x.label(tick), x.at(tick), height - 8, "middle") for tick in x.ticks]
    if reference is not None:
        parts.append(
            tag(
                "g",
                title(f"real images: {reference:.4g}"),
                segment("floor", x.at(reference), TOP, x.at(reference), height - 22),
            )
        )
    for row, spot in enumerate(spots):
        y = TOP + ROW * (row + 0.5)
        low, high = interval(spot)
        text = f"{spot.name}: {spot.value:.4g}" + (f", {low:.4g} to {high:.4g}" if spot.low is not None else "")
        bar = segment(f"bar r{spot.run % COLOURS}", x.at(low), y, x.at(high), y)
        parts.append(tag("g", title(text), bar, mark(spot.run, x.at(spot.value), y)))
    return canvas(parts, WIDTH, height, alt)


def interval(spot: Spot) -> tuple[float, float]:
    """Return the ends of an interval, or the value twice."""
    return (spot.value, spot.value) if spot.low is None or spot.high is None else (spot.low, spot.high)


# ---------------------------------------------------------------------- parts


def frame(x: Axis, y: Axis, x_title: str, y_title: str = "") -> list[Html]:
    """Draw the grid, the ticks and the titles of a chart."""
    bottom, middle = y.start, (x.start + x.stop) / 2
    parts = [segment("grid", x.start, y.at(tick), x.stop, y.at(tick)) for tick in y.ticks]
    parts += [label(y.label(tick), x.start - 7, y.at(tick) + 4, "end") for tick in y.ticks]
    parts += [segment("axis", x.at(tick), bottom, x.at(tick), bottom + 4) for tick in x.ticks]
    parts += [label(x.label(tick), x.at(tick), bottom + 17, "middle") for tick in x.ticks]
    parts += [segment("axis", x.start, bottom, x.stop, bottom), label(x_title, middle, bottom + 34, "middle")]
    if y_title:
        turn = f"translate(12 {(y.start + y.stop) / 2:.1f}) rotate(-90)"
        parts.append(tag("g", label(y_title, 0, 0, "middle"), at={"transform": turn}))
    return parts


def canvas(parts: Sequence[Html], width: float, height: float, alt: str) -> Html:
    """Make the image."""
    at = {"class": "chart", "viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": alt}
    return tag("svg", title(alt), join(parts), at=at)


def segment(kind: str, x1: float, y1: float, x2: float, y2: float) -> Html:
    """Draw a straight line."""
    return tag("line", at={"class": kind, "x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"})


def label(text: str, x: float, y: float, anchor: str) -> Html:
    """Write text."""
    return tag("text", text, at={"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor})


def title(text: str) -> Html:
    """Say what an element is, to those who point at it or cannot see it."""
    return tag("title", text)
