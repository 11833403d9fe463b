"""A run's folder belongs to one process at a time; the lock goes with the process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from condgen.cli.errors import UserError
from condgen.whole import sweep

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]

HELD: set[int] = set()
"""Open folders by which locks are held."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, and remove what a killed process left half written in it.

    Where folders cannot be locked, as on some network drives, they are not held.

    Raises:
        UserError: If another process holds it.
    """
    number = os.open(folder, os.O_RDONLY)
    HELD.add(number)
    try:
        take(number, folder)
        for place in (folder, folder / "checkpoints"):
            sweep(place, age=0.0)
        yield
    finally:
        HELD.discard(number)
        os.close(number)


def take(number: int, folder: Path) -> None:
    """Lock an open folder, if its drive can."""
    if fcntl is None:
        return
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"{folder} is in use by another process") from error
    except OSError:
        pass


def leave_to_parent() -> None:
    """Close the folders in a forked process, which would go on holding them when its parent is gone."""
    for number in HELD:
        os.close(number)
    HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=leave_to_parent)
