"""Figures as they are told."""

from __future__ import annotations

from collections.abc import Mapping

Peaks = Mapping[str, Mapping[str, float]]
"""GFLOP/s by type and kernel, as `peaks` measures them."""

COLUMNS = {
    "work": "work",
    "comparison": "",
    "precision": "precision",
    "ours": "images/s",
    "ours_least_most": "least to most",
    "peer_name": "peer",
    "peer": "peer, images/s",
    "ratio": "ratio",
    "ratio_min_max": "least to most",
    "ms_per_step": "ms/step",
    "more_ms_per_step": "more than peer, ms",
    "gflop_per_image": "GFLOP/image",
    "gflop_per_second": "GFLOP/s",
    "of_peak": "of peak",
    "peer_of_peak": "peer, of peak",
    "first_step_seconds": "first step, s",
    "rounds": "rounds",
    "contended": "contended",
}
"""Keys of a row, and the titles of their columns."""


def peak_for(peaks: Peaks, precision: str) -> float:
    """Return the rate of large matrix products in the type that a precision computes in, in GFLOP/s."""
    return peaks["bfloat16" if "16" in precision else "float32"]["matmul"]


def digits(value: float, count: int = 4) -> float:
    """Round to so many digits that count."""
    return float(f"{value:.{count}g}")
