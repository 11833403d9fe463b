"""What is told of a timing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from condgen.bench.rounds import Ratio, Timing

Peaks = Mapping[str, Mapping[str, float]]
"""GFLOP/s by type and kernel, as `peaks` measures them."""

COLUMNS = {
    "work": "work",
    "precision": "precision",
    "images_per_second": "images/s",
    "least_most": "least to most",
    "ms_per_step": "ms/step",
    "gflop_per_image": "GFLOP/image",
    "gflop_per_second": "GFLOP/s",
    "of_peak": "of peak",
    "ratio": "ratio",
    "ratio_min_max": "least to most",
    "first_step_seconds": "first step, s",
    "rounds": "rounds",
    "contended": "contended",
}
"""Keys of a row, and the titles of their columns."""


def figures(timing: Timing, *, one_core: bool, gflop: float | None = None, peak: float | None = None) -> dict[str, Any]:
    """Return a row of plain values.

    Args:
        timing: The work's blocks.
        one_core: It was done by one thread of a CPU, so that waiting for the processor shows.
        gflop: What an image costs, where that was counted.
        peak: The machine's rate that it is compared with, in GFLOP/s.
    """
    row: dict[str, Any] = {
        "images_per_second": digits(timing.images_per_second),
        "least_most": [digits(min(timing.rates)), digits(max(timing.rates))],
        "ms_per_step": digits(timing.ms_per_step),
        "rounds": len(timing.blocks),
        "contended": timing.contended if one_core else None,
    }
    if gflop:
        rate = gflop * timing.images_per_second
        row |= {"gflop_per_image": digits(gflop), "gflop_per_second": digits(rate)}
        row |= {"of_peak": round(rate / peak, 3)} if peak else {}
    return row


def peak_for(peaks: Peaks, precision: str) -> float:
    """Return the rate of large matrix products in the type that a precision computes in, in GFLOP/s."""
    return peaks["bfloat16" if "16" in precision else "float32"]["matmul"]


def digits(value: float, count: int = 4) -> float:
    """Round to so many digits that count."""
    return float(f"{value:.{count}g}")


def ratio_row(found: Ratio) -> dict[str, Any]:
    """Return a ratio as a part of a row."""
    return {"ratio": round(found.median, 3), "ratio_min_max": [round(found.least, 3), round(found.most, 3)]}
