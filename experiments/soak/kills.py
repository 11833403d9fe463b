"""Runs of four families, killed by SIGKILL at random times, again and again, and resumed until they are done.

Each must end as the one that was never killed: weights, averages, optimizers, counters, losses, scores and pictures,
bit for bit. Most are forked from a process that has imported torch; every 11th is a `condgen fit` of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from condgen.cli import main
from experiments.soak.runs import FAMILIES, SMALL, batches_seen, check_same, fit

TRIALS = 600
"""Of one to three kills each: about 1,000 kills that hit."""
NAMES = ("cgan", "dcgan", "vae", "ddpm")
LAST = 60
STEPS = ["--trainer.max_steps", str(LAST), "--checkpoint.every_n_batches", "2", "--data.augment", "RandomFlip"]


def prepare(folder: Path) -> dict[str, tuple[Path, float]]:
    """Train each family to the end, and note how long that takes once all modules are imported."""
    out = {}
    for name in NAMES:
        fit(folder / "imports" / name, *args(name))
        start = time.monotonic()
        assert killed([*SMALL, *args(name), "--runs", str(folder / name)], None, own=False) == 0
        (run,) = (folder / name).glob("*/*")
        out[name] = (run, time.monotonic() - start)
    return out


def args(name: str) -> list[str]:
    return [*FAMILIES[name], *STEPS]


def trial(seed: int, prepared: dict[str, tuple[Path, float]], folder: Path) -> dict[str, Any]:
    draw, name = Random(seed), NAMES[seed % len(NAMES)]
    (whole, seconds), own = prepared[name], seed % 11 == 0
    facts = {"kills": 0, "of these of whole processes": 0, "of these before the first checkpoint": 0}
    for left in range(draw.randrange(1, 4), -1, -1):
        run = latest(folder)
        words = ["fit", "--resume", str(run)] if run else [*SMALL, *args(name), "--runs", str(folder / "runs")]
        after = draw.uniform(0.0, seconds) + draw.uniform(0.0, 6.0) * own  # for the imports of a whole process
        code = killed(words, after if left else None, own)
        if code == 0:
            break
        assert code == -signal.SIGKILL, f"ended with {code}"
        facts["kills"] += 1
        facts["of these of whole processes"] += own
        facts["of these before the first checkpoint"] += latest(folder) is None
        if is_done(folder):
            break
    run = latest(folder)
    assert run is not None
    check_same(run, whole)
    return facts


def latest(folder: Path) -> Path | None:
    """Return the run that has a checkpoint; null if there is none."""
    return next((run for run in folder.glob("runs/*/*") if any(run.glob("checkpoints/*.ckpt"))), None)


def is_done(folder: Path) -> bool:
    """Tell whether a run was killed when all of it was saved."""
    run = latest(folder)
    return run is not None and batches_seen(run) == LAST


def killed(words: list[str], after: float | None, own: bool) -> int:
    """Run a command, and kill it after so many seconds unless it has ended; return its code."""
    child = subprocess.Popen([sys.executable, "-m", "condgen", *words]).pid if own else os.fork()
    if child == 0:
        os._exit(main(words))
    until = float("inf") if after is None else time.monotonic() + after
    while (code := ended(child)) is None:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            until = float("inf")
        time.sleep(0.0005)
    return code


def ended(child: int) -> int | None:
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None
