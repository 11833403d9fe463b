"""What `condgen bench` measures, and what it tells of it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from math import log2
from typing import Any, NamedTuple

import torch

from condgen.bench import Timing, Work, gflop_per_image, in_turns, peak_memory, peaks, ratio, warm_up
from condgen.bench.figures import Peaks, figures, peak_for, ratio_row
from condgen.cli.bench_works import Scoring, device_of, loading, sampling, training
from condgen.cli.lightning import CLI
from condgen.cli.summary import summary

BUDGET = 40.0
"""Seconds that all rounds may take; works whose steps are longer get fewer rounds."""
LONGEST_CHUNK = 3.0
"""Seconds that a chunk of samples may take; slower models are timed in smaller chunks."""
SCORED = 1000
"""Images on each side of a score."""
FULL = "32-true"
Builder = Callable[..., CLI]
"""Builds the run that is asked for, with further arguments."""


class Measured(NamedTuple):
    """Rows of figures, and what concerns all of them.

    Attributes:
        title: What was measured.
        rows: Plain values.
        noise: Least and most of the ratios, round by round, of a work to itself.
        peaks: What the machine reaches, in GFLOP/s by type and kernel.
        facts: Further facts by name.
    """

    title: str
    rows: list[dict[str, Any]]
    noise: tuple[float, float]
    peaks: Peaks
    facts: dict[str, Any]


def train(options: Namespace, build: Builder) -> Measured:
    """Time training steps in each precision, the first one twice."""
    asked = list(dict.fromkeys(options.precision.split(","))) if options.precision else [""]
    flags = [[f"--trainer.precision={name}"] if name else [] for name in asked]
    again, *built = [build(*flag) for flag in [flags[0], *flags]]
    limit = peaks(device_of(again))
    works = {name: training(cli) for name, cli in zip([*asked, "again"], [*built, again], strict=True)}
    timings, first = timed(works, options)
    rows = []
    for name, cli in zip(asked, built, strict=True):
        precision, gflop = str(cli.trainer.precision), gflop_per_image(works[name])
        row = figures(timings[name], one_core=one_core(again), gflop=gflop, peak=peak_for(limit, precision))
        row["first_step_seconds"] = round(first[name], 2)
        rows.append({"work": "training", "precision": precision, **row})
        rows[-1] |= ratio_row(ratio(timings[name], timings[asked[0]])) if name != asked[0] else {}
    for work in works.values():
        work.close()
    facts = {"memory": f"{peak_memory(device_of(again)) >> 20} MiB at most, all works and Python together"}
    return Measured(summary(built[0]), rows, noise(timings, asked[0]), limit, facts)


def sample(options: Namespace, build: Builder) -> Measured:
    """Time sampling in chunks, twice."""
    cli = build()
    limit = peaks(device_of(cli))
    model, work = sampling(cli)
    model.sample_chunk = fitting_chunk(model.sample_chunk, work.block(0.0).wall)
    timings, _ = timed({"sampling": work, "again": work}, options)
    gflop = gflop_per_image(work)
    row = figures(timings["sampling"], one_core=one_core(cli), gflop=gflop, peak=peak_for(limit, FULL))
    row["ms_per_image"] = round(1000 / timings["sampling"].images_per_second, 3)
    row = {"work": "sampling", "precision": FULL, **row}
    return Measured(summary(cli), [row], noise(timings, "sampling"), limit, {"sampler": model.sampler_card})


def data(options: Namespace, build: Builder) -> Measured:
    """Time training batches, twice."""
    cli = build()
    work = loading(cli)
    timings, first = timed({"training batches": work, "again": work}, options)
    row = figures(timings["training batches"], one_core=one_core(cli))
    row = {"work": "training batches", **row, "first_step_seconds": round(first["training batches"], 3)}
    title = f"{type(cli.datamodule).__name__} in batches of {cli.datamodule.batch_size}"
    return Measured(title, [row], noise(timings, "training batches"), {}, {})


def evaluate(options: Namespace, build: Builder) -> Measured:
    """Time features and each metric, features twice."""
    cli = build()
    limit = peaks(device_of(cli))
    scoring = Scoring(cli, SCORED)
    features, scores = scoring.features(), scoring.scores()
    timings, _ = timed({"features": features, "again": features, **scores}, options)
    gflop, peak = gflop_per_image(features), peak_for(limit, FULL)
    row = figures(timings["features"], one_core=one_core(cli), gflop=gflop, peak=peak)
    rows = [{"work": "features", **row}]
    rows += [
        {"work": f"{name} of {scoring.half:,}", **figures(timings[name], one_core=one_core(cli))} for name in scores
    ]
    title = f"extractor {scoring.evaluator.extractor.name} on {type(cli.datamodule).__name__}"
    return Measured(title, rows, noise(timings, "features"), limit, {})


MEASURES: dict[str, Callable[[Namespace, Builder], Measured]] = {
    "train": train,
    "sample": sample,
    "data": data,
    "evaluate": evaluate,
}


def timed(works: Mapping[str, Work], options: Namespace) -> tuple[dict[str, Timing], dict[str, float]]:
    """Warm works up and time them within the budget; return the seconds of each one's first step, too."""
    first: dict[str, float] = {}
    one_round = 0.0
    for name, work in works.items():
        first[name], second = warm_up(work)
        one_round += max(options.seconds, second)
    rounds = max(1, min(options.rounds, int(BUDGET / one_round)))
    return in_turns(works, rounds=rounds, seconds=options.seconds), first


def noise(timings: Mapping[str, Timing], reference: str) -> tuple[float, float]:
    """Return how far apart the same work came out."""
    found = ratio(timings["again"], timings[reference])
    return round(found.least, 3), round(found.most, 3)


def fitting_chunk(chunk: int, seconds: float) -> int:
    """Return a chunk that takes a few seconds at most, where the model's own took `seconds`."""
    return chunk if seconds <= LONGEST_CHUNK else 2 ** int(log2(max(1.0, chunk * LONGEST_CHUNK / seconds)))


def one_core(cli: CLI) -> bool:
    """Return whether one thread of the CPU does all the work."""
    return device_of(cli).type == "cpu" and torch.get_num_threads() == 1
