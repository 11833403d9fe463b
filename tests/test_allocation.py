"""Memory that a step frees serves the next one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from condgen import allocation
from condgen.allocation import libc, memory_kept

SCRIPT = """
import resource
import torch
from condgen.allocation import memory_kept

def faults(steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        torch.ones(2048, 2048, 4)  # 64 MiB: 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(10))
with memory_kept():
    faults(20)
    print(faults(10))
"""


@pytest.mark.skipif(libc() is None, reason="the C library is not glibc")
def test_pages_are_kept() -> None:
    """In a process of its own, whose heap has no large place that is free before."""
    out = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    usual, kept = map(int, out.split())
    assert kept < 1000
    assert usual > 10 * kept + 10_000


def test_what_was_set_is_set_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[int, int] = {}
    monkeypatch.setattr(allocation, "mallopt", lambda parameter, value: calls.update({parameter: value}))
    with pytest.raises(KeyError), memory_kept():  # noqa: PT012
        assert calls == allocation.KEEPING
        raise KeyError
    assert calls == allocation.USUAL


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    libc.cache_clear()
    try:
        assert not allocation.mallopt(allocation.MMAP_MAX, 0)
        with memory_kept():
            pass
    finally:
        libc.cache_clear()
