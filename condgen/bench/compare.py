"""Groups of works that take turns, and a row for each pair of them that is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from condgen.bench.figures import Peaks, digits, peak_for
from condgen.bench.limits import gflop_per_image
from condgen.bench.rounds import Ratio, Timing, Work, in_turns, ratio, warm_up

AGAIN = "again"
"""Name of the work that is equal to the first one; its ratio to that is the noise."""
WARM_UP = 2


class Side(NamedTuple):
    """Makes a work.

    Attributes:
        make: Makes it.
        precision: What it computes in.
        counted: Whether its operations are counted, in further steps.
        period: Steps after which they are the same again.
    """

    make: Callable[[], Work]
    precision: str = "32-true"
    counted: bool = True
    period: int = 1


class Comparison(NamedTuple):
    """Names of two sides, of which there may be but one, and what the row says of them."""

    ours: str
    peer: str | None
    what: str


class Group(NamedTuple):
    """Works that take turns, one called `again`, and what is compared among them."""

    title: str
    sides: Mapping[str, Side]
    comparisons: list[Comparison]


class Protocol(NamedTuple):
    """How a group is timed.

    Attributes:
        rounds: Blocks of each work.
        seconds: Length of a block.
        limit: What the machine reaches; without any, shares of it are left out.
        one_core: One thread of a CPU does all, so that waiting for the processor shows.
        budget: Seconds that all rounds may take; slow works get fewer rounds.
    """

    rounds: int
    seconds: float
    limit: Peaks
    one_core: bool = True
    budget: float = float("inf")


def measure(group: Group, protocol: Protocol) -> list[dict[str, Any]]:
    """Time a group; return a row of plain values for each comparison."""
    works: dict[str, Work] = {}
    try:
        for name, side in group.sides.items():
            works[name] = side.make()
        first = {name: warm_up(work, WARM_UP) for name, work in works.items()}
        one_round = sum(max(protocol.seconds, steps[-1]) for steps in first.values())
        rounds = max(1, min(protocol.rounds, int(min(protocol.budget / one_round, protocol.rounds))))
        timings = in_turns(works, rounds=rounds, seconds=protocol.seconds)
        costs = {
            name: gflop_per_image(works[name], side.period) if side.counted else 0.0
            for name, side in group.sides.items()
        }
    finally:
        for work in works.values():
            work.close()
    noise = ratio(timings[AGAIN], timings[next(iter(works))])
    return [
        {
            "work": group.title,
            **row(comparison, timings, first),
            "contended": is_contended(comparison, timings, noise, protocol.one_core),
            **told(group, comparison.ours, "", timings, costs, protocol),
            **(told(group, comparison.peer, "peer_", timings, costs, protocol) if comparison.peer else {}),
            "noise": [round(noise.least, 3), round(noise.most, 3)],
            "rounds": rounds,
        }
        for comparison in group.comparisons
    ]


def is_contended(comparison: Comparison, timings: Mapping[str, Timing], noise: Ratio, one_core: bool) -> bool | None:
    """Tell whether equal works differed, or a side waited for its processor; null where only the first can be known."""
    sides = [timings[name] for name in (comparison.ours, comparison.peer) if name]
    if noise.noisy or not one_core:
        return noise.noisy or None
    return any(timing.contended for timing in sides)


def row(comparison: Comparison, timings: Mapping[str, Timing], first: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return images per second of both sides, and their ratio; null where there is one side."""
    ours, name, what = comparison
    mine, peer = timings[ours], timings[name] if name else None
    found = ratio(mine, peer) if peer else None
    out: dict[str, Any] = {
        "comparison": what,
        "ours_name": ours,
        "peer_name": name,
        "ours": digits(mine.images_per_second),
        "peer": digits(peer.images_per_second) if peer else None,
        **ratio_row(found),
        "ours_least_most": [digits(min(mine.rates)), digits(max(mine.rates))],
        "first_step_seconds": round(first[ours][0], 3),
    }
    if peer:
        out["more_ms_per_step"] = round(mine.ms_per_step - peer.ms_per_step, 4)
        out["ratio_of_processor_time"] = round(per_processor(mine) / per_processor(peer), 3)
    return out


def ratio_row(found: Ratio | None) -> dict[str, Any]:
    """Return a ratio as a part of a row."""
    if found is None:
        return {"ratio": None, "ratio_min_max": None}
    return {"ratio": round(found.median, 3), "ratio_min_max": [round(found.least, 3), round(found.most, 3)]}


def told(
    group: Group,
    name: str,
    prefix: str,
    timings: Mapping[str, Timing],
    costs: Mapping[str, float],
    protocol: Protocol,
) -> dict[str, Any]:
    """Return what is told of one side."""
    timing, precision = timings[name], group.sides[name].precision
    out: dict[str, Any] = {f"{prefix}precision": precision, f"{prefix}ms_per_step": digits(timing.ms_per_step)}
    if costs[name]:
        rate = costs[name] * timing.images_per_second
        out |= {f"{prefix}gflop_per_image": digits(costs[name]), f"{prefix}gflop_per_second": digits(rate)}
        out |= {f"{prefix}of_peak": round(rate / peak_for(protocol.limit, precision), 3)} if protocol.limit else {}
    return out


def per_processor(timing: Timing) -> float:
    """Return images per second of processor time, over all rounds."""
    return sum(block.images for block in timing.blocks) / max(sum(block.cpu for block in timing.blocks), 1e-9)
