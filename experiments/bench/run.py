"""Measure condgen beside its peers, part by part, on a quiet machine.

python -m experiments.bench.run --root DATA [--parts peers,overhead/digits] [--more] [--again] [--smoke]

DATA holds MNIST/raw; the extra `bench` has the peers. Parts that results.json holds already are skipped, so that an
interrupted run goes on where it stopped; a part that fails is told of, and the others go on. Without --parts, all are
measured that need no long training and no GPU; --more adds those of quality. Writes results.json, results.md and the
table of figures in README.md. One core, one thread, but for parts that say otherwise.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from condgen.bench import Protocol, machine, peaks, pin, write_json
from experiments.bench import (
    evaluation,
    gpu,
    growth,
    levers,
    memory,
    overhead,
    peer_sampling,
    peers,
    quality,
    scaling,
    streaming,
)
from experiments.bench.figures import figures_table
from experiments.bench.settings import HERE, Part, Setting
from experiments.bench.tables import report
from experiments.results import into_readme

USUAL = (peers, peer_sampling, streaming, overhead, levers, growth, memory, scaling, evaluation)
PARTS: Mapping[str, Part] = {name: part for module in (*USUAL, quality, gpu) for name, part in module.PARTS.items()}
DEFAULT = [name for module in USUAL for name in module.PARTS]
UNBOUND = ("scaling/", "quality/", "gpu/")
"""Parts that use several cores."""


def main(argv: list[str] | None = None) -> int:
    """Measure the parts that are asked for; return 1 if one has failed."""
    args = parse(argv)
    done = load(args.json)
    cores = sorted(os.sched_getaffinity(0))
    done.setdefault("peaks", bound(cores, lambda: peaks(seconds=0.0 if args.smoke else 1.0)))
    failed = []
    for name in asked(args.parts, args.more):
        if any(row["part"] == name for row in done["rows"]) and not args.again:
            continue
        start = time.perf_counter()
        print(f"{name} ...", flush=True)
        try:
            rows = measured(name, args, done["peaks"], cores)
        except Exception:  # one part is no reason to lose the others
            traceback.print_exc()
            failed.append(name)
            continue
        kept = [row for row in done["rows"] if row["part"] != name]
        done["rows"] = [*kept, *({"part": name, **row} for row in rows)]
        done["rows"].sort(key=lambda row: list(PARTS).index(row["part"]))
        done["seconds"][name] = round(time.perf_counter() - start)
        write(done, args.json)
        print(f"{name}: {len(rows)} rows in {done['seconds'][name]} s", flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "all parts are there")
    return int(bool(failed))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--parts", default="", help=f"some, or their beginnings, of {', '.join(PARTS)}")
    parser.add_argument("--more", action="store_true", help="add the parts of quality, which train for some minutes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a block")
    parser.add_argument("--json", type=Path, default=HERE / "results.json")
    parser.add_argument("--again", action="store_true", help="measure again what is there")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, which show that all works; --json elsewhere")
    args = parser.parse_args(argv)
    if args.smoke and args.json == HERE / "results.json":
        parser.error("--smoke measures nothing: give --json a file elsewhere")
    return args


def load(path: Path) -> dict[str, Any]:
    """Read what is there, of this machine alone."""
    now = machine() | {"threads": 1}
    found: dict[str, Any] = {"machine": now, "seconds": {}, "rows": []}
    if path.is_file():
        found = json.loads(path.read_text())
    if found["machine"] != now:
        sys.exit(f"{path} is of another machine or torch, {found['machine']}: move it away first")
    return found


def asked(parts: str, more: bool) -> Iterable[str]:
    """Return the names of the parts that are asked for."""
    if not parts:
        return [*DEFAULT, *(quality.PARTS if more else ())]
    words = parts.split(",")
    unknown = next((word for word in words if not any(name.startswith(word) for name in PARTS)), None)
    if unknown is not None:
        sys.exit(f"no part {unknown!r}; there are {', '.join(PARTS)}")
    return [name for name in PARTS if any(name.startswith(word) for word in words)]


def measured(name: str, args: argparse.Namespace, limit: Any, cores: list[int]) -> list[dict[str, Any]]:
    """Measure one part."""
    rounds, seconds = (1, 0.0) if args.smoke else (args.rounds, args.seconds)
    with TemporaryDirectory() as folder:
        setting = Setting(str(Path(args.root).resolve()), Path(folder), Protocol(rounds, seconds, limit), args.smoke)
        if name.startswith(UNBOUND):
            return PARTS[name](setting)
        return bound(cores, lambda: PARTS[name](setting))


def bound(cores: list[int], work: Any) -> Any:
    """Do some work with one thread on one core."""
    with one_core(cores):
        return work()


@contextmanager
def one_core(cores: list[int]) -> Iterator[None]:
    """Bind this process to its first core for a while."""
    threads = torch.get_num_threads()
    pin(1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)
        gc.collect()


def write(done: dict[str, Any], path: Path) -> None:
    """Write the results, and the tables of them."""
    write_json(path, done)
    path.with_suffix(".md").write_text(report(done))
    if path == HERE / "results.json":
        into_readme("bench", figures_table(done["rows"]), HERE / "README.md")


if __name__ == "__main__":
    sys.exit(main())
