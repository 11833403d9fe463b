"""Deaths of one of two processes of a job: killed, raising, exiting or hanging, in a batch, a validation or a save.

All of the job must end within 10 seconds, or 10 after the timeout if it hangs, with codes other than 0, leave no
process, and say which rank it was and what became of it. Most are forked from a process that has imported torch, with
the variables by which torchrun, SLURM or a user tell each what it is; every 10th is a `condgen fit` that starts the
other.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from condgen.cli import main
from experiments.soak.faulty import HOW, PHASES, bring_in
from experiments.soak.runs import CGAN, SMALL, fit

TRIALS = 100
WAYS = ("kill", "raise", "exit", "hang")
TIMEOUT = 8.0
"""Seconds after which a process is said to hang."""
LIMIT = 10.0
STEPS = ["--data.batch_size", "96", "--trainer.max_steps", "13"]


def prepare(folder: Path) -> None:
    """Import what a run imports, so that no forked one has to."""
    fit(folder, *CGAN, *STEPS)


def trial(seed: int, prepared: None, folder: Path) -> dict[str, Any]:
    draw, how, rank = Random(seed), WAYS[seed % 4], seed // 4 % 2
    phase = draw.choice([*PHASES])
    fault = f"{rank}:{phase}:{draw.randrange(PHASES[phase][2]) + 1}:{how}"
    words = [*SMALL, *CGAN, *STEPS, "--runs", str(folder / "runs"), *patience(how), "--trainer.devices"]
    told = folder / "failed_at"
    if seed % 10 == 9:
        job = whole([*words, "2"], folder, {"FAULT": fault, "FAULT_AT": str(told)})
        launcher = "lightning"
    else:
        launcher = draw.choice([*LAUNCHERS])
        nodes = LAUNCHERS[launcher][1]
        job = Job([*words, str(2 // nodes), "--trainer.num_nodes", str(nodes)], launcher, folder, fault)
    codes = job.wait(120.0)
    seconds = time.time() - float(told.read_text()) - TIMEOUT * (how == "hang")
    said = job.said()
    assert 0 not in codes, f"{fault} {launcher}: ended with {codes}\n{said}"
    assert seconds < LIMIT, f"{fault} {launcher}: took {seconds:.1f} seconds\n{said}"
    assert not left(folder), f"{fault} {launcher}: processes are left"
    expected = HOW[how][1] if launcher != "lightning" or rank == 0 else f"rank {rank} "
    assert f"rank {rank} " in said, f"{fault} {launcher}: the rank is not named\n{said}"
    assert expected in said, f"{fault} {launcher}: the cause is not named\n{said}"
    return {"deaths": 1, how: 1, "ended after seconds": [round(seconds, 2)], "launcher": launcher, "fault": fault}


def patience(how: str) -> list[str]:
    return ["--timeout", str(TIMEOUT)] if how in ("hang", "stop") else []


# ---------------------------------------------------------------------- jobs


def torchrun(rank: int, port: int) -> dict[str, str]:
    """What `torchrun --nnodes 2 --nproc-per-node 1` tells its processes, but for its store."""
    return {
        "RANK": str(rank), "LOCAL_RANK": "0", "GROUP_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "soak",
        "TORCHELASTIC_USE_AGENT_STORE": "False",
    }  # fmt: skip


def slurm(rank: int, port: int) -> dict[str, str]:
    """What `srun` tells the two tasks of a job on one machine."""
    names = {
        "JOB_ID": "77", "JOB_NAME": "train", "NTASKS": "2", "NTASKS_PER_NODE": "2", "NNODES": "1", "NODEID": "0",
        "PROCID": str(rank), "LOCALID": str(rank), "NODELIST": "localhost", "JOB_NODELIST": "localhost",
    }  # fmt: skip
    named = {f"SLURM_{name}": value for name, value in names.items()}
    return named | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def by_hand(rank: int, port: int) -> dict[str, str]:
    """What a user sets who starts each process of a machine."""
    return {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


LAUNCHERS: dict[str, tuple[Callable[[int, int], dict[str, str]], int]] = {
    "torchrun": (torchrun, 2),
    "slurm": (slurm, 1),
    "by hand": (by_hand, 1),
}
"""The variables of each process, and the number of machines that they speak of."""


class Job:
    """Two processes, forked from this one; what rank i says is in `rank<i>.txt`."""

    def __init__(self, words: list[str], launcher: str, folder: Path, fault: str | None = None, **more: str) -> None:
        self.folder, port = folder, free_port()
        self.children = [self._fork(words, rank, LAUNCHERS[launcher][0](rank, port) | more, fault) for rank in range(2)]

    def _fork(self, words: list[str], rank: int, variables: dict[str, str], fault: str | None) -> int:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                output = os.open(self.folder / f"rank{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(output, 1)
                os.dup2(output, 2)
                sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
                os.environ.update(variables)
                if fault is not None:
                    os.environ["FAULT_AT"] = str(self.folder / "failed_at")
                    bring_in(fault)
                code = main(words)
                sys.stdout.flush()
            except SystemExit as leaving:
                code = int(leaving.code or 0)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                code = 1
            finally:
                os._exit(code)
        return child

    def wait(self, seconds: float) -> list[int | None]:
        """Return the code of each, or minus the signal that ended it; null if it had to be killed."""
        until, codes = time.monotonic() + seconds, dict.fromkeys(self.children, None)
        found: dict[int, int | None] = {**codes}
        waiting = set(self.children)
        while waiting and time.monotonic() < until:
            for child in list(waiting):
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    found[child] = os.waitstatus_to_exitcode(status)
                    waiting.remove(child)
            time.sleep(0.02)
        for child in waiting:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        return [found[child] for child in self.children]

    def said(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("rank?.txt")))


class Whole:
    """A process that starts the other one."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process, self.output = process, output

    def wait(self, seconds: float) -> list[int | None]:
        return [self.process.wait(seconds)]

    def said(self) -> str:
        return self.output.read_text()


def whole(words: list[str], folder: Path, variables: dict[str, str]) -> Whole:
    output = folder / "output.txt"
    with output.open("wb") as file:
        command = [sys.executable, "-m", "experiments.soak.faulty", *words]
        process = subprocess.Popen(command, env=os.environ | variables, stdout=file, stderr=file)
    return Whole(process, output)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def left(folder: Path, seconds: float = 1.0) -> list[int]:
    """Return the processes that a job has left: those that name its folder, once they have had a second."""
    until = time.monotonic() + seconds
    while (found := [*naming(folder)]) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def naming(folder: Path) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            if str(folder).encode() in words and int(path.name) != os.getpid():
                found.append(int(path.name))
        except OSError:
            continue
    return found
