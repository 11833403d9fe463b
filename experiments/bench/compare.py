"""Groups of works that take turns, and a row for each pair of them that is compared."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from condgen.bench import Timing, Work, gflop_per_image, in_turns, machine, markdown, ratio, warm_up, write_json
from condgen.bench.figures import Peaks, digits, peak_for, ratio_row

RESULTS = Path(__file__).parent / "results"
COLUMNS = {
    "work": "work",
    "comparison": "",
    "peer_name": "peer",
    "ours": "ours, images/s",
    "peer": "peer, images/s",
    "ratio": "ratio",
    "ratio_min_max": "least to most",
    "same_against_itself": "noise",
    "of_peak": "ours, of peak",
    "peer_of_peak": "peer, of peak",
    "more_ms_per_step": "ours, more ms/step",
    "first_step_seconds": "our first step, s",
    "contended": "contended",
}
WARM_UP = 2


class Side(NamedTuple):
    """Makes a work, and the precision that it computes in."""

    make: Callable[[], Work]
    precision: str = "32-true"


class Comparison(NamedTuple):
    """Names of the two sides, and what the row says of them."""

    ours: str
    peer: str
    what: str


class Group(NamedTuple):
    """Works that take turns, the one called `again` equal to the first, and what is compared among them."""

    title: str
    sides: Mapping[str, Side]
    comparisons: list[Comparison]


def measure(group: Group, limit: Peaks, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Time a group; return a row for each comparison."""
    works = {name: side.make() for name, side in group.sides.items()}
    first = {name: warm_up(work, WARM_UP)[0] for name, work in works.items()}
    timings = in_turns(works, rounds=rounds, seconds=seconds)
    costs = {name: gflop_per_image(work) for name, work in works.items()}
    for work in works.values():
        work.close()
    noise = ratio_row(ratio(timings["again"], timings[next(iter(works))]))["ratio_min_max"]

    def told(name: str, prefix: str = "") -> dict[str, Any]:
        timing, peak = timings[name], peak_for(limit, group.sides[name].precision)
        return {
            f"{prefix}precision": group.sides[name].precision,
            f"{prefix}gflop_per_image": digits(costs[name]),
            f"{prefix}of_peak": round(costs[name] * timing.images_per_second / peak, 3),
            f"{prefix}ms_per_step": digits(timing.ms_per_step),
        }

    def row(ours: str, peer: str, what: str) -> dict[str, Any]:
        mine, other = timings[ours], timings[peer]
        return {
            "work": group.title,
            "comparison": what,
            "peer_name": peer,
            "ours": digits(mine.images_per_second),
            "peer": digits(other.images_per_second),
            **ratio_row(ratio(mine, other)),
            "ratio_of_processor_time": round(per_processor(mine) / per_processor(other), 3),
            "same_against_itself": noise,
            **told(ours),
            **told(peer, "peer_"),
            "more_ms_per_step": round(mine.ms_per_step - other.ms_per_step, 3),
            "first_step_seconds": round(first[ours], 2),
            "contended": mine.contended or other.contended,
        }

    return [row(*comparison) for comparison in group.comparisons]


def per_processor(timing: Timing) -> float:
    """Return images per second of processor time, over all rounds."""
    return sum(block.images for block in timing.blocks) / max(sum(block.cpu for block in timing.blocks), 1e-9)


def options(parser: argparse.ArgumentParser, name: str) -> None:
    """Add what all comparisons take."""
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json", type=Path, default=RESULTS / f"{name}.json")


def run(groups: Iterable[Group], limit: Peaks, args: argparse.Namespace) -> None:
    """Measure groups one after the other; write what is done after each, as JSON and as Markdown beside it."""
    rows: list[dict[str, Any]] = []
    for group in groups:
        rows += measure(group, limit, args.rounds, args.seconds)
        settings = {"rounds": args.rounds, "seconds": args.seconds}
        write_json(args.json, {"machine": machine(), "peaks": limit, **settings, "rows": rows})
        table = markdown(rows, COLUMNS)
        args.json.with_suffix(".md").write_text(f"{table}\n\nPeaks, GFLOP/s: {json.dumps(limit)}\n")
        print(markdown(rows[-len(group.comparisons) :], COLUMNS), flush=True)
