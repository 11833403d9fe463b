"""Measuring how fast works are, beside each other and beside the machine's limit."""

from condgen.bench.compare import AGAIN, Comparison, Group, Protocol, Side, measure
from condgen.bench.figures import COLUMNS, digits
from condgen.bench.foreign import Foreign
from condgen.bench.limits import gflop_per_image, machine, peak_memory, peaks, pin
from condgen.bench.rounds import Block, Loop, Ratio, Timing, Work, in_turns, ratio, warm_up
from condgen.bench.table import markdown, write_json

__all__ = [
    "AGAIN",
    "COLUMNS",
    "Block",
    "Comparison",
    "Foreign",
    "Group",
    "Loop",
    "Protocol",
    "Ratio",
    "Side",
    "Timing",
    "Work",
    "digits",
    "gflop_per_image",
    "in_turns",
    "machine",
    "markdown",
    "measure",
    "peak_memory",
    "peaks",
    "pin",
    "ratio",
    "warm_up",
    "write_json",
]
