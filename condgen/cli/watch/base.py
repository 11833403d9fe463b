"""The watch over one process, and what all watches share."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from subprocess import Popen
from typing import Any, NamedTuple

import torch

from condgen.cli.watch.launcher import Launcher, ending, reap
from condgen.heartbeat import heart
from condgen.interrupts import LEAVE, Interrupted, interrupts

TICK = 0.2
GRACE = 3.0
"""Seconds in which a process may end by itself when another one has made the job end."""
PATIENCE = 30.0
"""The same for one that was asked to leave, and may be saving."""
CALLING = 1.0
"""Seconds in which a process that has met the others is sure to be connected."""
LOST = "is lost: it was killed, or ended without a word"
REAP = 5.0
"""Seconds after which the others of a machine are killed."""


class Fate(NamedTuple):
    """Why a job ends: the exit code, and what is said."""

    code: int
    told: str


class Place(NamedTuple):
    """What a process is among those of its job."""

    rank: int
    local_rank: int
    processes: int
    launcher: Launcher | None
    timeout: float


class Watch(threading.Thread):
    """Watches a process that is alone; subclasses watch several.

    Args:
        place: What the process is.

    Attributes:
        fate: Why the job ends, if that is for another reason than what the main thread does.
        decided: Is set when that is known.
        left: Is to be set when the main thread has ended its work.
        outcome: How that was.
        told: Is set when the others know.
        failed_at: When the main thread's work failed, if that may be another process's doing.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(name="condgen-watch", daemon=True)
        self.place = place
        self.fate: Fate | None = None
        self.decided = threading.Event()
        self.left = threading.Event()
        self.outcome: Fate | None = None
        self.told = threading.Event()
        self.failed_at: float | None = None
        self._asked: tuple[int, float] | None = None
        self._bell, self._rope = socket.socketpair()
        self._rope.setblocking(False)

    # ------------------------------------------------------------------ the main thread's side

    @contextmanager
    def hearing_signals(self) -> Iterator[None]:
        """Hear of signals at once, which the main thread does not while it waits for other processes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.set_wakeup_fd(self._rope.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    def tell(self, outcome: Fate) -> None:
        """Let the other processes know how this one's work has ended, and wait until they do; code 0 if it is done."""
        self.outcome = outcome
        self._rope.send(b"\0")
        while not (self.told.wait(TICK) or self.decided.is_set()):
            pass

    # ------------------------------------------------------------------ the thread

    def run(self) -> None:
        """Look around until the main thread has ended its work, or the job must end."""
        heart.beat()
        try:
            while not self.told.is_set():
                ready = select.select([self._bell, *self.lines()], [], [], TICK)[0]
                if self._bell in ready:
                    self._hear()
                fate = self.look(ready)
                if fate is not None and not self.told.is_set():
                    self._end(fate)
                    return
        finally:
            self.told.set()

    def lines(self) -> Sequence[Any]:
        """Return what else can wake the thread: all that `select` takes."""
        return []

    def look(self, ready: Sequence[object]) -> Fate | None:
        """Look around once; say why the job must end, if it must."""
        if self.outcome is not None and (self.outcome.code or self.is_together()):
            self.told.set()
        return self.fallen(set()) or self.hangs() or self.stuck() or self.missed()

    def absent(self) -> list[int]:
        """Return the ranks that this process is to be connected to and never was."""
        return []

    def is_together(self) -> bool:
        """Tell whether all processes are connected."""
        return not self.absent()

    def hangs(self) -> Fate | None:
        """Say that this process makes no progress, if so."""
        if heart.silence() <= self.place.timeout:
            return None
        who = f"rank {self.place.rank} is hanging" if self.place.processes > 1 else "the run is hanging"
        return hanging(who, self.place.timeout, where())

    def fallen(self, known: Container[int]) -> Fate | None:
        """Say that a process that this one has started ended, if it is none of those that are known."""
        for rank, process in self.started().items():
            if rank not in known and process.poll() is not None:
                return self.asked(process.returncode) or Fate(1, f"rank {rank} {ending(process, 0)}")
        return None

    def asked(self, code: int) -> Fate | None:
        """Say that this process was asked to leave, if one that it has started ended by the same signal."""
        if self._asked is None or code not in (-self._asked[0], 128 + self._asked[0]):
            return None
        return stopped(self._asked[0])

    def started(self) -> dict[int, Popen[Any]]:
        """Return the processes that this one has started, by their ranks."""
        found = self.place.launcher.procs if self.place.launcher is not None else []
        return dict(enumerate(found, start=self.place.rank + 1))

    def stuck(self) -> Fate | None:
        """Say that this process was asked to leave and cannot, for it waits for processes that are not there yet."""
        if self._asked is None or self.is_together() or time.monotonic() - self._asked[1] < GRACE:
            return None
        return stopped(self._asked[0])

    def missed(self) -> Fate | None:
        """Say that this process's work failed because another one, which it had met, ended before it was connected."""
        if self.failed_at is None or time.monotonic() - self.failed_at < CALLING:
            return None
        absent = self.absent() if torch.distributed.is_initialized() else []
        return Fate(1, f"rank {absent[0]} {LOST}") if absent else None

    def spread(self, fate: Fate) -> None:
        """Let the other processes know why all end."""

    def clear(self) -> None:
        """See to it that the processes that this one has started end, at once where they cannot be told to."""
        started, absent = self.started(), self.absent()
        for rank in started.keys() & absent:
            started[rank].kill()
        reap([*started.values()], REAP)

    def speaks(self) -> bool:
        """Tell whether this process says why the job ends: the first of each machine."""
        return self.place.local_rank == 0

    # ------------------------------------------------------------------ the end

    def _hear(self) -> None:
        for number in self._bell.recv(4096):
            if number in LEAVE:
                self._asked = self._asked or (number, time.monotonic())

    def _end(self, fate: Fate) -> None:
        """End the job: the main thread may do so by itself, else the process is cut off."""
        self.fate = fate
        self.decided.set()
        self.spread(fate)
        if not self.left.wait(GRACE if interrupts.received is None else PATIENCE):
            say(fate.told if self.speaks() else "")
            self.clear()
            os._exit(fate.code)


def stopped(signum: int) -> Fate:
    """Make a fate of a signal that asks to leave."""
    message, code = Interrupted(signum).told
    return Fate(code, message)


def hanging(who: str, timeout: float, at: str) -> Fate:
    """Make a fate of a hang."""
    known = f", last in {at}" if at else ""
    return Fate(1, f"{who}: no progress for {timeout:g} seconds{known}; --timeout SECONDS allows for more")


def where() -> str:
    """Return where the main thread is: the innermost place that is not in a library."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        file = frame.f_code.co_filename
        if "site-packages" not in file and not file.startswith((sys.base_prefix, "<")):
            return f"{frame.f_code.co_name} ({os.path.basename(file)}:{frame.f_lineno})"
        frame = frame.f_back
    return ""


def say(told: str) -> None:
    """Say in one line why the process is cut off, whatever holds the streams; and show the cursor again."""
    flush = threading.Thread(target=sys.stdout.flush, daemon=True)
    flush.start()
    flush.join(1.0)
    show = "\x1b[?25h" if sys.stderr.isatty() else ""
    os.write(2, f"{show}condgen: {told}\n".encode() if told else show.encode())
