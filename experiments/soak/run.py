"""Run the soak experiments for a while, or to their ends, and append each trial to results.jsonl.

python -m experiments.soak.run                      # all, until each has as many trials as it wants
python -m experiments.soak.run kills --minutes 5    # some, for a while
python -m experiments.soak.run saves --trials 20

An experiment is a file beside this one with three names: TRIALS, how many it wants; `prepare(folder)`, which is called
once and returns what all trials share; and `trial(seed, prepared, folder)`, which raises if something is wrong and
returns facts in plain values, whose numbers are added up in the table. Trial i has seed i, so a run that was stopped
goes on; a trial that failed is made again, and its last record counts. Each is a process of its own, forked from one
that has imported torch and condgen, and may map so much memory that a value that asks for a terabyte fails at once.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from itertools import count, groupby, islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import condgen
import condgen.cli.verbs  # so that a forked process has it
from experiments.results import into_readme
from experiments.soak.runs import in_child

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"
ADDRESS_SPACE = 48 << 30
"""Bytes that a trial may map."""
NAMES = sorted(path.stem for path in HERE.glob("*.py") if "\nTRIALS = " in path.read_text())


def main(argv: list[str] | None = None) -> int:
    args = parsed(argv)
    until = time.monotonic() + 60 * args.minutes if args.minutes else None
    failures = 0
    for name in args.names or NAMES:
        failures += soak(name, args.trials, until, args.results)
    print(table(args.results))
    if args.results == RESULTS:
        into_readme("soak", table(RESULTS), HERE / "README.md")
        (HERE / "results.md").write_text(table(RESULTS))
    return 1 if failures else 0


def parsed(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="experiments; default all")
    parser.add_argument("--minutes", type=float, help="time for all of them")
    parser.add_argument("--trials", type=int, help="trials of each, beside those that were made before")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(argv)


def soak(name: str, more: int | None, until: float | None, results: Path) -> int:
    """Make trials of one experiment; return how many failed."""
    experiment = importlib.import_module(f"experiments.soak.{name}")
    done = {record["seed"] for record in records(results, name) if not record["failed"]}
    seeds = (seed for seed in count() if seed not in done)
    due = list(islice(seeds, experiment.TRIALS - len(done) if more is None else more))
    failures = 0
    if not due:
        return 0
    with tempfile.TemporaryDirectory(prefix=f"soak-{name}-") as root:
        prepared = experiment.prepare(Path(root) / "prepared")
        for seed in due:
            if until is not None and time.monotonic() > until:
                break
            record = tried(experiment.trial, seed, prepared, Path(root) / str(seed))
            record_trial(results, {"experiment": name, "seed": seed, **record})
            failures += record["failed"] is not None
            shutil.rmtree(Path(root) / str(seed), ignore_errors=True)
    return failures


def tried(trial: Callable[..., dict[str, Any]], seed: int, prepared: Any, folder: Path) -> dict[str, Any]:
    """Make a trial in a process of its own."""
    folder.mkdir(parents=True)
    told, start = folder / "told.json", time.monotonic()

    def work() -> int:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
        quiet = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            found = {"failed": None, "facts": trial(seed, prepared, folder)}
        except BaseException:
            found = {"failed": traceback.format_exc(limit=-3), "facts": {}}
        told.write_text(json.dumps(found))
        return 0

    code = in_child(work)
    found = json.loads(told.read_text()) if told.exists() else {"failed": f"the trial ended with {code}", "facts": {}}
    if found["failed"]:
        print(f"seed {seed} failed: {found['failed']}\n{(folder / 'output').read_text()[-2000:]}", file=sys.stderr)
    versions = {"condgen": condgen.__version__, "torch": str(torch.__version__)}
    return {**found, "seconds": round(time.monotonic() - start, 2), **versions}


def record_trial(results: Path, record: dict[str, Any]) -> None:
    """Add a line, in place of a last one that was not written to its end."""
    with results.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def records(results: Path, name: str) -> list[dict[str, Any]]:
    """Read the last record of each trial of one experiment; a last line that was not written to its end is none."""
    lines = results.read_text().split("\n")[:-1] if results.exists() else []
    found = [record for record in map(json.loads, lines) if record["experiment"] == name]
    return list({record["seed"]: record for record in found}.values())


def table(results: Path) -> str:
    """Add up what was found, experiment by experiment."""
    lines = ["| experiment | seeds | failed | counted | minutes |", "| --- | --- | ---: | --- | ---: |"]
    for name in NAMES:
        rows = sorted(records(results, name), key=lambda row: row["seed"])
        sums: dict[str, float] = {}
        for row in rows:
            for fact, value in row["facts"].items():
                if isinstance(value, int | float):
                    sums[fact] = sums.get(fact, 0) + value
        counted = ", ".join(f"{value:,.10g} {fact}" for fact, value in sums.items())
        failed, minutes = sum(row["failed"] is not None for row in rows), sum(row["seconds"] for row in rows) / 60
        lines.append(f"| {name} | {spans([row['seed'] for row in rows])} | {failed:,} | {counted} | {minutes:.1f} |")
    return "\n".join(lines) + "\n"


def spans(seeds: list[int]) -> str:
    """Write seeds as spans, such as `0–49`; nothing if there is none."""
    runs = groupby(enumerate(sorted(seeds)), lambda item: item[1] - item[0])
    ends = [[seed for _, seed in run] for _, run in runs]
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in ends)


if __name__ == "__main__":
    sys.exit(main())
