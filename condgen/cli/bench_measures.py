"""What `condgen bench` measures, and what it tells of it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from math import log2
from typing import Any, NamedTuple

import torch

from condgen.bench import AGAIN, Comparison, Group, Loop, Protocol, Side, measure, peak_memory, peaks
from condgen.bench.figures import Peaks
from condgen.cli.bench_by_hand import by_hand, has_loop
from condgen.cli.bench_peers import by_square_root, nets_alone, one_by_one
from condgen.cli.bench_works import Scoring, chunk_of, device_of, loading, period, sampling, training
from condgen.cli.errors import UserError
from condgen.cli.lightning import CLI
from condgen.cli.summary import summary

BUDGET = 40.0
"""Seconds that all rounds may take; works whose steps are longer get fewer rounds."""
LONGEST_CHUNK = 3.0
"""Seconds that a chunk of samples may take; slower models are timed in smaller chunks."""
SCORED = 1000
"""Images on each side of a score."""
FULL, HALF = "32-true", "bf16-mixed"
Builder = Callable[..., CLI]
"""Builds the run that is asked for, with further arguments."""


class Measured(NamedTuple):
    """Rows of figures, and what concerns all of them.

    Attributes:
        title: What was measured.
        rows: Plain values.
        peaks: What the machine reaches, in GFLOP/s by type and kernel.
        facts: Further facts by name.
    """

    title: str
    rows: list[dict[str, Any]]
    peaks: Peaks
    facts: dict[str, Any]


def train(options: Namespace, build: Builder) -> Measured:
    """Time training in each precision, beside the same by hand."""
    asked = list(dict.fromkeys(map(str.strip, options.precision.split(",")))) if options.precision else ["fit"]
    if "" in asked:
        raise UserError(f"--precision takes names such as 32-true,bf16-mixed, got {options.precision!r}")
    flags = {name: [f"--trainer.precision={name}"] if options.precision else [] for name in asked}
    (first, *others), flags[AGAIN] = asked, flags[asked[0]]
    built = {name: build(*given) for name, given in flags.items()}
    precision = {name: str(cli.trainer.precision) for name, cli in built.items()}
    sides = {name: Side(partial(training, cli), precision[name], period=period(cli)) for name, cli in built.items()}
    comparisons = [Comparison(name, first, f"beside {precision[first]}") for name in others]
    if has_loop(built[first].model) and built[first].trainer.accumulate_grad_batches == 1:
        for name in (first, *others):
            flag = f"--trainer.precision={precision[name]}"
            hand = partial(built_by_hand, build, flag)
            sides[f"loop by hand, {name}"] = Side(hand, precision[name], period=period(built[first]))
            comparisons.append(Comparison(name, f"loop by hand, {name}", "by hand"))
    else:
        comparisons = [Comparison(name, None, "") for name in (first, *others)] + comparisons
    limit = peaks(device_of(built[first]))
    rows = measure(Group("training", sides, comparisons), protocol(options, built[first], limit))
    memory = f"{peak_memory(device_of(built[first])) >> 20} MiB at most, all works and Python together"
    return Measured(summary(built[first]), rows, limit, {"memory": memory})


def sample(options: Namespace, build: Builder) -> Measured:
    """Time sampling in chunks, beside the nets' evaluations alone, and in bfloat16."""
    cli = build()
    limit = peaks(device_of(cli))
    model = sampling(cli)[0]
    model.sample_chunk = options.chunk or fitting_chunk(cli)
    (cond, seeds), card = chunk_of(cli), model.sampler_card
    works = {"sampling": FULL, AGAIN: FULL, "in bfloat16": HALF}
    sides = {name: Side(partial(sampling_loop, cli, kind == HALF), kind) for name, kind in works.items()}
    sides["nets alone"] = Side(partial(nets_alone, model, cond, seeds))
    comparisons = [Comparison("sampling", "nets alone", "nets alone"), Comparison("in bfloat16", "sampling", "32-true")]
    rows = measure(Group("sampling", sides, comparisons), protocol(options, cli, limit))
    for row in rows:
        row["ms_per_image"] = round(1000 / row["ours"], 3)
    return Measured(summary(cli), rows, limit, {"sampler": card})


def data(options: Namespace, build: Builder) -> Measured:
    """Time training batches, beside images that are transformed one by one."""
    cli = build()
    works = {"batches": loading, AGAIN: loading, "one by one": one_by_one}
    sides = {name: Side(partial(work, cli), counted=False) for name, work in works.items()}
    group = Group("training batches", sides, [Comparison("batches", "one by one", "PIL, one by one")])
    title = f"{type(cli.datamodule).__name__} in batches of {cli.datamodule.batch_size}"
    return Measured(title, measure(group, protocol(options, cli, {})), {}, {})


def evaluate(options: Namespace, build: Builder) -> Measured:
    """Time features and each metric, the Fréchet distance beside scipy's square root."""
    cli = build()
    limit = peaks(device_of(cli))
    scoring = Scoring(cli, SCORED)
    scores, root = list(scoring.metrics), "scipy.linalg.sqrtm"
    sides = {name: Side(scoring.features) for name in ("features", AGAIN)}
    sides |= {name: Side(partial(scoring.score, name), counted=False) for name in scores}
    sides[root] = Side(partial(by_square_root, *scoring.halves), counted=False)
    peer = {"FrechetDistance": root}
    comparisons = [Comparison(name, peer.get(name), name) for name in ("features", *scores)]
    title = f"extractor {scoring.evaluator.extractor.name} on {type(cli.datamodule).__name__}"
    group = Group(f"scores of {scoring.half:,} images", sides, comparisons)
    return Measured(title, measure(group, protocol(options, cli, limit)), limit, {})


MEASURES: dict[str, Callable[[Namespace, Builder], Measured]] = {
    "train": train,
    "sample": sample,
    "data": data,
    "evaluate": evaluate,
}


def built_by_hand(build: Builder, flag: str) -> Loop:
    """Return the loop by hand of a run of its own."""
    return by_hand(build(flag))


def sampling_loop(cli: CLI, half: bool) -> Loop:
    """Return the sampling of a chunk."""
    return sampling(cli, half)[1]


def protocol(options: Namespace, cli: CLI, limit: Peaks) -> Protocol:
    """Return how works are timed."""
    one_core = device_of(cli).type == "cpu" and torch.get_num_threads() == 1
    return Protocol(options.rounds, options.seconds, limit, one_core, BUDGET)


def fitting_chunk(cli: CLI) -> int:
    """Return a chunk that takes a few seconds at most."""
    model, work = sampling(cli)
    return smaller(model.sample_chunk, work.block(0.0).wall)


def smaller(chunk: int, seconds: float) -> int:
    """Return a chunk that takes a few seconds at most, where so large a one took `seconds`."""
    return chunk if seconds <= LONGEST_CHUNK else 2 ** int(log2(max(1.0, chunk * LONGEST_CHUNK / seconds)))
