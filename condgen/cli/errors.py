"""Errors that a user can mend, in one line, with the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

RUN_OR_FILE = "a run's folder, runs/NAME for its latest, or a checkpoint file"
"""What verbs take that read a checkpoint."""


class UserError(Exception):
    """Something wrong was asked for: exit code 2."""


class RunError(Exception):
    """The work was asked for rightly and failed: exit code 1."""


class RankError(Exception):
    """The process ends because of another one of its job, or has told that one why it does.

    Args:
        code: The exit code.
        told: What is still to be said; empty if that is done.
    """

    def __init__(self, code: int, told: str) -> None:
        super().__init__(told)
        self.code = code


def lost_reader(error: BaseException) -> str:
    """Say that a process which read data was killed, if that is why an error arose; else nothing."""
    lost: BaseException | None = error
    while lost is not None:
        if found := re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", str(lost)):
            return (
                f"a process that reads data, number {found[1]}, was ended from outside, as where memory runs out; "
                "give data.workers a smaller number, or free memory"
            )
        lost = lost.__cause__ or lost.__context__
    return ""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` for the nearest valid name, or nothing."""
    names = [str(item) for item in valid]
    folded = {item.lower(): item for item in names}
    matches = get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    return f", did you mean {folded[matches[0]]!r}?" if matches else ""
