"""Mutated YAMLs and flags: each is refused in a line or three with exit code 2, or was no mistake after all.

Commands run in this process, and `fit` and `test` end once all is built; one in forty of those that are refused is
run again as a process of its own, which must say the same.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from contextlib import chdir
from pathlib import Path
from typing import Any

from experiments.soak.config_mutations import mutation
from experiments.soak.harness import Outcome, call, call_process, inside
from experiments.soak.runs import CGAN, fit

TRIALS = 50
CASES = 40
"""Refusals of a trial."""
AGAIN = 40
"""Every how many refusals one is repeated as a process."""


def prepare(folder: Path) -> Path:
    """Train a small model, out of the way of the runs of cases."""
    folder.mkdir(parents=True)
    with chdir(folder):
        fit(Path("kept"), *CGAN, "--trainer.max_steps", "1")
    return folder


def trial(seed: int, prepared: Path, folder: Path) -> dict[str, Any]:
    """Try mutations until so many were refused; count them, also by kind, and those that were valid after all."""
    draw, found, kinds, problems = random.Random(seed), Counter[str](), Counter[str](), []
    with inside(prepared, folder) as work:
        (checkpoint,) = Path("kept").glob("*/*")
        while found["refused"] + len(problems) < CASES:
            kind, argv = mutation(draw, work, str(checkpoint))
            outcome = call(argv)
            problem = outcome.problem or (f"exit code 1: {outcome.err}" if outcome.code == 1 else "")
            if outcome.code == 2 and not problem and (seed * CASES + found["refused"]) % AGAIN == AGAIN - 1:
                problem = differs(outcome, call_process(argv, work))
                found["again as processes"] += 1
            if problem:
                problems.append({"kind": kind, "argv": argv, "files": texts(work), "problem": problem[:3000]})
            else:
                found["refused" if outcome.code else "valid after all"] += 1
                kinds[kind] += bool(outcome.code)
            shutil.rmtree("runs", ignore_errors=True)
    assert not problems, json.dumps(problems, indent=1)
    return {**found, "kinds": dict(sorted(kinds.items()))}


def differs(one: Outcome, other: Outcome) -> str:
    """Say how a process differs from the same command in this one."""
    if other.problem:
        return other.problem
    return "" if (one.code, one.err) == (other.code, other.err) else f"as a process: {other.code} {other.err}"


def texts(folder: Path) -> dict[str, str]:
    """Return the configs of a case."""
    return {path.name: path.read_text(errors="replace")[:3000] for path in folder.glob("*.yaml")}
