"""A command line in this process, watched: its code, what it says, how long it takes, and what it sets in motion."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from condgen.cli import main

LIMIT = 60
"""Seconds of the processor that a refusal may take; ten times as many may pass, on a busy machine."""
MOST_LINES = 3
MARK = "condgen-soak-payload"
"""A word of every payload: whatever a payload does, its arguments hold it."""
EVENTS = frozenset(
    {"os.system", "subprocess.Popen", "os.exec", "os.spawn", "os.posix_spawn", "exec", "compile", "pickle.find_class",
     "ctypes.dlopen", "webbrowser.open", "urllib.Request", "socket.connect", "socket.getaddrinfo", "shutil.copyfile"}
)  # fmt: skip
"""Python's audit events of what runs code or a program, or calls out."""


class Outcome(NamedTuple):
    """What became of a command.

    code: Its exit code; null if it had none.
    err: What it wrote to the standard error.
    problem: What it must not do; empty if it did nothing of the kind.
    """

    code: int | None
    err: str
    problem: str = ""


class TooLong(BaseException):
    """The command took longer than `LIMIT`."""


@contextmanager
def inside(prepared: Path, folder: Path) -> Iterator[Path]:
    """Work in a copy of what was prepared, so that no case can spoil it for the next trial."""
    work = folder / "work"
    shutil.copytree(prepared, work)
    with chdir(work), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield work


def call(argv: Sequence[str], *, train: bool = False) -> Outcome:
    """Run a command in this process.

    Args:
        argv: Its words.
        train: Whether to let Lightning's verbs do their work; if not, they end once all is built.
    """
    out, err = StringIO(), StringIO()
    work = patch("condgen.cli.verbs.execute", lambda cli, verb: setattr(cli.model, "loaded_from", "a file"))
    try:
        with redirect_stdout(out), redirect_stderr(err), limited():
            if train:
                code = main(list(argv))
            else:
                with work:
                    code = main(list(argv))
    except SystemExit as leaving:  # a help text
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except TooLong:
        return Outcome(None, err.getvalue(), "hang")
    except BaseException:
        return Outcome(None, err.getvalue(), "traceback: " + traceback.format_exc(limit=-3))
    return judged(code, err.getvalue())


def call_process(argv: Sequence[str], folder: Path) -> Outcome:
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "condgen", *argv]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10 * LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return Outcome(None, "", "hang")
    return judged(done.returncode, done.stderr)


def judged(code: int, err: str) -> Outcome:
    """Look at what a command said."""
    problem = ""
    if "Traceback (most recent call last)" in err:
        problem = f"traceback: {err}"
    elif code not in (0, 1, 2):
        problem = f"exit code {code}"
    elif not (code == 2) <= len(err.strip().splitlines()) <= (MOST_LINES if code else 100):
        problem = f"{len(err.strip().splitlines())} lines: {err[:2000]}"
    elif len(err) > 3000:
        problem = f"{len(err)} characters: {err[:500]}"
    return Outcome(code, err, problem)


@contextmanager
def limited() -> Iterator[None]:
    """Stop what takes too long."""

    def stop(number: int, frame: Any) -> None:
        raise TooLong

    timers = ((signal.SIGALRM, signal.ITIMER_REAL, 10 * LIMIT), (signal.SIGPROF, signal.ITIMER_PROF, LIMIT))
    before = [signal.signal(number, stop) for number, _, _ in timers]
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


# ---------------------------------------------------------------------- payloads

_events: list[str] | None = None
_hooked = False


@contextmanager
def watching() -> Iterator[list[str]]:
    """Collect what a payload sets in motion: those of `EVENTS` whose arguments hold `MARK`."""
    global _events, _hooked  # noqa: PLW0603 - an audit hook is for good
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _events = found = []
    try:
        yield found
    finally:
        _events = None


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _events is not None and event in EVENTS and any(_holds_mark(arg) for arg in args):
        _events.append(event)


def _holds_mark(value: object) -> bool:
    if isinstance(value, str):
        return MARK in value
    if isinstance(value, bytes):
        return MARK.encode() in value
    return isinstance(value, list | tuple) and any(_holds_mark(item) for item in value)
