"""Signals that ask a process to leave, answered where its work can be left."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

LEAVE = (signal.SIGTERM, signal.SIGINT)
PATIENCE = 10.0
"""Seconds after the first signal in which further ones raise nothing."""


class Interrupted(BaseException):
    """The process was asked to leave, and what it did can be left here.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.told = str(self), 128 + signum
        """A message, and the exit code that shells know for the signal."""


class Interrupts:
    """What this process was asked by signals.

    The first signal counts. It raises `Interrupted` at once, or waits while signals are held. Later ones raise nothing
    for a while, so that the way out is not cut short; only if Python lost the first, as in a finaliser, one does again.

    Attributes:
        received: The signal that asks to leave; null if there was none.
        requeue: Whether the cluster has asked to save and to queue the job again.
    """

    def __init__(self) -> None:
        self._active = False
        self._forget()

    def _forget(self) -> None:
        self.received: int | None = None
        self.requeue = False
        self._held = False
        self._raised_at = -PATIENCE

    @contextmanager
    def handled(self, *, at_last: bool = False) -> Iterator[None]:
        """Take the signals over for a while; other threads than the main one can take none.

        Args:
            at_last: Whether the process ends with the block, so that once it leaves, no further signal disturbs it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._forget()
        before: dict[signal.Signals, Any] = {signum: signal.getsignal(signum) for signum in LEAVE}
        self._active = True
        self.take()
        try:
            yield
        finally:
            self._active = False
            if at_last and self.received is not None:
                before = dict.fromkeys(LEAVE, signal.SIG_IGN)
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def take(self, requeue: int | None = None) -> None:
        """Put the handlers in, if signals are handled here, above those that others have put in meanwhile.

        In a run that is benchmarked, whose thread is not the main one, they stay as they are.

        Args:
            requeue: The signal by which a cluster asks to save and to queue the job again; null for none.
        """
        if self._active and threading.current_thread() is threading.main_thread():
            for signum in LEAVE:
                signal.signal(signum, self._leave)
            if requeue is not None:
                signal.signal(requeue, self._requeue)

    def hold(self) -> None:
        """Let signals wait from now on."""
        self._held = True

    def release(self) -> None:
        """Answer signals at once from now on, and the one that waits.

        Raises:
            Interrupted: If one waits.
        """
        self._held = False
        if self.received is not None:
            self._raise(self.received)

    def attempt(self, work: Callable[[], object]) -> bool:
        """Do some work that may be given up if a signal comes, or is there; tell whether it was done.

        The signal goes on waiting if signals were held before. (No context manager: in the frames of one, a signal
        would find no one to catch it.)
        """
        held = self._held
        try:
            self.release()
            work()
            self._held = held
            return True
        except Interrupted:
            if not held:
                raise
            self._held = held
            return False
        except BaseException:
            self._held = held
            raise

    def _leave(self, signum: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signum
        if not self._held and time.monotonic() - self._raised_at >= PATIENCE:
            self._raise(self.received)

    def _requeue(self, signum: int, frame: FrameType | None) -> None:
        self.requeue = True

    def _raise(self, signum: int) -> None:
        self._raised_at = time.monotonic()
        raise Interrupted(signum)


interrupts = Interrupts()
"""Of this process."""


def ignore_in_worker(*_: Any) -> None:
    """Let a process that helps this one end with it alone: Ctrl-C reaches both at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
