"""`condgen bench`: how fast a config trains, samples, reads and scores on this machine, and how near to its limit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from condgen.cli.errors import RunError, UserError, nearest
from condgen.cli.files import shipped
from condgen.cli.parser import OneLineParser

if TYPE_CHECKING:
    from argparse import Namespace

    from condgen.cli.bench_measures import Measured

USAGE = """\
usage: condgen bench train [-c CONFIG ...]      a training step, through all of `condgen fit`
       condgen bench sample [-c CONFIG ...]     sampling
       condgen bench data [-c CONFIG ...]       training batches, as a model gets them
       condgen bench evaluate [-c CONFIG ...]   features and scores

Each takes under a minute and prints images/s, ms/step, FLOPs, and the share of what this machine reaches at most.
condgen bench train --help"""
LONGEST = 600.0
"""Seconds that a block may take."""
NAMES = ("train", "sample", "data", "evaluate")


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Measure one of them."""
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    what, *rest = args
    if what not in NAMES:
        raise UserError(f"bench: nothing called {what!r}{nearest(what, NAMES)}; give {', '.join(NAMES)}")
    options, config = parser(what).parse_known_args(rest)
    check(options)
    if not any(arg.partition("=")[0] in ("-c", "--config") for arg in config):
        config = ["-c", str(shipped("experiments") / "quickstart" / "quickstart.yaml"), *config]

    from condgen.bench import pin
    from condgen.cli.bench_measures import MEASURES
    from condgen.cli.bench_works import steady

    if options.threads:
        pin(options.threads)
    with TemporaryDirectory() as runs:
        try:
            measured = MEASURES[what](options, partial(steady, config, Path(runs), trusted))
            show(measured, options.json)
        except (ValueError, OSError, FloatingPointError) as error:
            raise RunError(f"{error} (set CONDGEN_TRACEBACK=1 to see where)") from error
    return 0


def check(options: Namespace) -> None:
    """Refuse settings that nothing can be measured with, and a file that cannot be, before anything is measured."""
    if options.rounds < 1 or options.threads < 0 or getattr(options, "chunk", 0) < 0:
        raise UserError("bench: --rounds, --threads and --chunk must be at least 1")
    if not 0 < options.seconds <= LONGEST:
        raise UserError(f"bench: --seconds must be above 0 and at most {LONGEST:g}, got {options.seconds:g}")
    if options.json is not None and Path(options.json).is_dir():
        raise UserError(f"bench: --json takes a file, and {options.json} is a folder")


def parser(what: str) -> OneLineParser:
    """Return the parser of what is measured; what it does not know belongs to the config."""
    out = OneLineParser(
        prog=f"condgen bench {what}",
        description="Blocks of each work take turns; the figures are medians over the rounds. One work is timed twice, "
        "which shows how far the figures of equal works lie apart.",
        epilog="Further options are those of `condgen fit`; without a config it is the one of `condgen quickstart`.",
        allow_abbrev=False,
    )
    out.add_argument("--json", metavar="FILE", help="write the figures there, too")
    out.add_argument("--rounds", type=int, default=5, help="blocks of each work; default 5")
    out.add_argument("--seconds", type=float, default=1.0, help="length of a block; default 1")
    out.add_argument("--threads", type=int, default=0, help="so many threads on as many cores; default: all")
    if what == "train":
        out.add_argument("--precision", metavar="A,B", help="compare some, such as 32-true,bf16-mixed")
    if what == "sample":
        out.add_argument("--chunk", type=int, default=0, help="images per evaluation of the net; default: the model's")
    return out


def show(measured: Measured, file: str | None) -> None:
    """Print a table and the facts; write all to a file."""
    from condgen.bench import COLUMNS, machine, markdown, write_json

    print(measured.title)
    print(markdown(measured.rows, COLUMNS))
    for dtype, kernels in measured.peaks.items():
        print(f"peak         {dtype}: " + ", ".join(f"{name} {rate:,.0f} GFLOP/s" for name, rate in kernels.items()))
    print("noise        the same work against itself: {:.3f} to {:.3f}".format(*measured.rows[0]["noise"]))
    for name, value in measured.facts.items():
        print(f"{name:<12} {value}")
    if any(row.get("contended") for row in measured.rows):
        print("contended    something else used this core: measure again on a quiet machine")
    if file is not None:
        write_json(Path(file), {"machine": machine(), **measured._asdict()})
