"""Measuring how fast works are, beside each other and beside the machine's limit."""

from condgen.bench.foreign import Foreign
from condgen.bench.limits import gflop_per_image, machine, peak_memory, peaks, pin
from condgen.bench.rounds import Block, Loop, Ratio, Timing, Work, in_turns, ratio, warm_up
from condgen.bench.table import markdown, write_json

__all__ = [
    "Block",
    "Foreign",
    "Loop",
    "Ratio",
    "Timing",
    "Work",
    "gflop_per_image",
    "in_turns",
    "machine",
    "markdown",
    "peak_memory",
    "peaks",
    "pin",
    "ratio",
    "warm_up",
    "write_json",
]
