"""Runs of four families, killed by SIGKILL at random times, again and again, and resumed until they are done.

Each must end as the one that was never killed: weights, averages, optimizers, counters, losses, scores and pictures,
bit for bit. Most are forked from a process that has imported torch; every 25th is a `condgen fit` of its own. Times
are those of the processor, so that a busy machine moves no kill.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from condgen.checkpoints import read_checkpoint
from condgen.cli import main
from experiments.soak.runs import FAMILIES, SMALL, batches_seen, check_same, fit

TRIALS = 660
"""Of one to six kills each: about 1,000 kills that hit."""
OWN = 25
LAST = 24
STEPS = ["--trainer.max_steps", str(LAST), "--checkpoint.every_n_batches", "2", "--data.augment", "RandomFlip"]
SMALLER = {"vae": ["--model.inference.hidden", "[16]", "--model.decoder.hidden", "[16]"],
           "ddpm": ["--data.batch_size", "64"]}  # fmt: skip
NAMES = ("cgan", "dcgan", "vae", "ddpm")
TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds in which the system counts the work of a process."""


class Whole(NamedTuple):
    """A run that was never killed, and the seconds of the processor that the like of it takes.

    begin: Until its first batch.
    end: Until its end, in a process that has imported all.
    imports: What a process of its own takes besides.
    """

    run: Path
    begin: float
    end: float
    imports: float


def prepare(folder: Path) -> dict[str, Whole]:
    """Train each family to the end, and note what that takes."""
    out = {}
    for name in NAMES:
        words = [*SMALL, *args(name), "--runs", str(folder / name)]
        fit(folder / "imports" / name, *args(name))
        end = seconds_of(words, own=False)
        (run,) = (folder / name).glob("*/*")
        begin = seconds_of([*words[:-1], str(folder / "begin" / name), "--trainer.max_steps", "1"], own=False)
        out[name] = Whole(run, begin, end, 0.0)
    imports = seconds_of([*words[:-1], str(folder / "own")], own=True) - end
    return {name: whole._replace(imports=imports) for name, whole in out.items()}


def args(name: str) -> list[str]:
    return [*FAMILIES[name], *STEPS, *SMALLER.get(name, [])]


def trial(seed: int, prepared: dict[str, Whole], folder: Path) -> dict[str, Any]:
    draw, name = Random(seed), NAMES[seed // OWN % len(NAMES) if seed % OWN == 0 else seed % len(NAMES)]
    whole, own = prepared[name], seed % OWN == 0
    facts = {"kills": 0, "of these of whole processes": 0, "of these before the first checkpoint": 0, name: 0}
    for left in range(draw.randrange(1, 7), -1, -1):
        run = latest(folder)
        words = ["fit", "--resume", str(run)] if run else [*SMALL, *args(name), "--runs", str(folder / "runs")]
        share = 1 - (batches_seen(run) if run else 0) / LAST
        after = draw.uniform(0.0, whole.begin + share * (whole.end - whole.begin))
        after += draw.uniform(0.4, 1.0) * whole.imports if own else 0.0
        code = killed(words, after + draw.uniform(0.0, TICK) if left else None, own)
        if code == 0:
            break
        assert code == -signal.SIGKILL, f"ended with {code}"
        facts["kills"] += 1
        facts[name] += 1
        facts["of these of whole processes"] += own
        facts["of these before the first checkpoint"] += latest(folder) is None
        if is_done(folder):
            break
    run = latest(folder)
    assert run is not None
    check_same(run, whole.run)
    return facts


def latest(folder: Path) -> Path | None:
    """Return the run that has a checkpoint; null if there is none."""
    return next((run for run in folder.glob("runs/*/*") if any(run.glob("checkpoints/*.ckpt"))), None)


def is_done(folder: Path) -> bool:
    """Tell whether a run was killed when all of it was saved, its last validation too."""
    run = latest(folder)
    if run is None or batches_seen(run) < LAST:
        return False
    return not read_checkpoint(run)["callbacks"]["Checkpoint"]["validating"]


def killed(words: list[str], after: float | None, own: bool) -> int:
    """Run a command, and kill it after so many seconds of the processor unless it has ended; return its code."""
    child = subprocess.Popen([sys.executable, "-m", "condgen", *words]).pid if own else os.fork()
    if child == 0:
        os._exit(main(words))
    while (code := ended(child)) is None:
        if after is not None and worked(child) >= after // TICK * TICK:
            time.sleep(after % TICK)
            os.kill(child, signal.SIGKILL)
            after = None
        time.sleep(0.0005)
    return code


def ended(child: int) -> int | None:
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def worked(child: int) -> float:
    """Return the seconds of the processor that a process has had, in whole ticks."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def seconds_of(words: list[str], *, own: bool) -> float:
    """Run a command to its end; return the seconds of the processor that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert killed(words, None, own) == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
