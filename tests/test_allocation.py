"""Memory that a step frees serves the next one."""

from __future__ import annotations

import resource
import sys

import pytest
import torch

from condgen import allocation
from condgen.allocation import libc, memory_kept

SIDE = 2048
"""Of four float32 matrices, 64 MiB: 16,384 pages."""


def faults(steps: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        torch.ones(SIDE, SIDE, 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(libc() is None, reason="the C library is not glibc")
def test_pages_are_kept_and_then_no_longer() -> None:
    with memory_kept():
        faults(2)
        kept = faults(10)
    assert kept < 1000
    assert faults(10) > 10 * kept + 10_000


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
