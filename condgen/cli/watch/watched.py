"""Work that is watched: its process ends in order when another one of its job does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L

from condgen.cli.errors import RankError, RunError, UserError
from condgen.cli.watch.base import Fate, Place, Watch, say
from condgen.cli.watch.hub import Hub
from condgen.cli.watch.launcher import take_over
from condgen.cli.watch.member import Member
from condgen.interrupts import Interrupted

IN_A_LINE = (UserError, RunError, Interrupted)
"""What is told by one line; the rest are faults of the program, or of other processes."""
HEARING = 2.0
"""Seconds in which the cause of another process's end is heard of after a collective operation has failed."""


@contextmanager
def watched(trainer: L.Trainer, timeout: float) -> Iterator[None]:
    """Let a trainer's processes watch each other while they work.

    Args:
        trainer: The trainer, before it has started processes.
        timeout: Seconds without a sign of life after which the job hangs.

    Raises:
        RankError: If the job ends because of another process, or this one has told the first one why it does.
    """
    watch = appoint(trainer, timeout)
    failure: BaseException | None = None
    with watch.hearing_signals():
        watch.start()
        try:
            try:
                yield
            except BaseException as error:
                failure = error
                if isinstance(error, RuntimeError) and watch.place.processes > 1:
                    watch.failed_at = time.monotonic()
                    watch.decided.wait(HEARING)
            if not watch.decided.is_set():
                watch.tell(outcome(failure, watch.place.rank))
        finally:
            watch.left.set()
            watch.clear()
    conclude(watch, failure)


def appoint(trainer: L.Trainer, timeout: float) -> Watch:
    """Return the watch that a trainer's process needs."""
    launcher = take_over(trainer, timeout)
    place = Place(trainer.global_rank, trainer.local_rank, trainer.world_size, launcher, timeout)
    kind = Watch if place.processes == 1 else Hub if place.rank == 0 else Member
    return kind(place)


def outcome(failure: BaseException | None, rank: int) -> Fate:
    """Tell how the work of a process has ended."""
    if failure is None:
        return Fate(0, "")
    if isinstance(failure, Interrupted):
        message, code = failure.told
        return Fate(code, f"rank {rank} was {message}")
    if isinstance(failure, SystemExit):
        code = failure.code if isinstance(failure.code, int) else 1
        return Fate(code or 1, f"rank {rank} ended with exit code {code}")
    if isinstance(failure, UserError | RunError):
        return Fate(2 if isinstance(failure, UserError) else 1, f"rank {rank} failed: {failure}")
    line = next(iter(str(failure).splitlines()), "")
    return Fate(1, f"rank {rank} failed: {type(failure).__name__}: {line}")


def conclude(watch: Watch, failure: BaseException | None) -> None:
    """Raise what is to be said here: one process of all says it in a line, and only faults are shown where they are."""
    own = isinstance(failure, IN_A_LINE) and watch.place.rank == 0
    if watch.fate is not None and not own:
        raise RankError(watch.fate.code, watch.fate.told if watch.speaks() else "") from failure
    if isinstance(failure, IN_A_LINE) and not own and watch.is_together() and not os.environ.get("CONDGEN_TRACEBACK"):
        raise RankError(outcome(failure, watch.place.rank).code, "") from failure
    if isinstance(failure, SystemExit) and watch.place.processes > 1:
        raise RankError(*outcome(failure, watch.place.rank)) from failure
    if failure is not None:
        if watch.place.processes > 1 and watch.place.rank == 0 and not own:
            say(outcome(failure, 0).told)
        raise failure
