"""Memory that is freed and soon asked for again: a process on the CPU keeps it rather than give it back."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4
"""Parameters of glibc's `mallopt`."""
MIB = 2**20
KEEPING = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 * MIB}
USUAL = {MMAP_MAX: 2**16, MMAP_THRESHOLD: 32 * MIB, TRIM_THRESHOLD: 64 * MIB, TOP_PAD: 128 * 2**10}
"""What glibc comes to by itself when large tensors have been freed."""


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let the process keep what it frees, for a while.

    glibc gives large blocks back to the system when they are freed, and each page of the next one is then a fault: on a
    DCGAN of 32x32 pixels 11,000 a step, and a tenth of its time. Where there is another allocator, nothing is done.
    """
    for parameter, value in KEEPING.items():
        mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in USUAL.items():
            mallopt(parameter, value)


def mallopt(parameter: int, value: int) -> bool:
    """Set one of glibc's parameters; tell whether it is set."""
    library = libc()
    return library is not None and bool(library.mallopt(parameter, value))


@cache
def libc() -> ctypes.CDLL | None:
    """Return the C library if it has `mallopt`."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") else None
