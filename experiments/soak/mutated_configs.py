"""Mutated YAMLs and flags: each is refused in a line or three with exit code 2, or was no mistake after all.

python -m experiments.soak.mutated_configs --count 2000

Commands run in this process, and `fit` and `test` end once all is built; one in forty of those that are refused is
run again as a process of its own, which must say the same.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from contextlib import chdir
from pathlib import Path
from typing import Any

from experiments.soak.config_mutations import mutation
from experiments.soak.harness import Outcome, call, call_process
from experiments.soak.record import record

AGAIN = 40
"""Every how many refusals one is repeated as a process."""


def run(count: int, seed: int) -> dict[str, Any]:
    """Try mutations until `count` of them were refused.

    Returns:
        How many were refused, were valid after all, failed at work; which kinds there were; and the problems.
    """
    draw, found, kinds, problems = random.Random(seed), Counter[str](), Counter[str](), []
    with tempfile.TemporaryDirectory() as name, chdir(name):
        folder = Path(name)
        checkpoint = trained()
        while found["refused"] + len(problems) < count:
            kind, argv = mutation(draw, folder, checkpoint)
            outcome = call(argv)
            problem = outcome.problem
            result = {0: "valid", 1: "failed", 2: "refused"}.get(
                outcome.code if outcome.code is not None else -1, "none"
            )
            if result == "refused" and not problem and found["refused"] % AGAIN == AGAIN - 1:
                problem = differs(outcome, call_process(argv, folder))
                found["as processes"] += 1
            if result == "failed" and not problem:
                problem = f"exit code 1: {outcome.err}"
            if problem:
                problems.append({"kind": kind, "argv": argv, "files": texts(folder), "problem": problem[:3000]})
            else:
                found[result] += 1
                kinds[kind] += result == "refused"
            shutil.rmtree("runs", ignore_errors=True)
    return {**found, "kinds": dict(sorted(kinds.items())), "problems": problems}


def trained() -> str:
    """Train a small model; return its run's folder, out of the way of the others."""
    args = ["fit", "-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml", "--runs", "kept"]
    more = ["--trainer.max_steps", "1", "--trainer.limit_val_batches", "0", "--trainer.accelerator", "cpu"]
    outcome = call([*args, *more], train=True)
    assert outcome.code == 0, outcome
    return str(next(Path("kept").glob("*/*")))


def differs(one: Outcome, other: Outcome) -> str:
    """Say how a process differs from the same command in this one."""
    if other.problem:
        return other.problem
    return "" if (one.code, one.err) == (other.code, other.err) else f"as a process: {other.code} {other.err}"


def texts(folder: Path) -> dict[str, str]:
    """Return the configs of a case."""
    return {path.name: path.read_text(errors="replace")[:3000] for path in folder.glob("*.yaml")}


if __name__ == "__main__":
    record("mutated_configs", run, 2000)
