"""Work on keys in several processes, in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from torch.utils.data import DataLoader

from condgen.heartbeat import heart
from condgen.interrupts import ignore_in_worker


class Keyed(Protocol):
    """Makes something of a key."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return what belongs to a key."""


def spare_cores() -> int:
    """Return the number of processes that may work beside this one; 0 on one core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores > 1 else 0


def in_workers(source: Keyed, keys: Sequence[Any], workers: int, say: str | None = None) -> Iterator[Any]:
    """Yield `source[key]` for each key, in order, made ahead by some processes.

    Args:
        source: Makes something of a key.
        keys: The keys.
        workers: Number of processes; 0 for this one.
        say: What a progress bar calls the work; null for none.
    """
    how: dict[str, Any] = {"sampler": keys, "batch_size": None, "collate_fn": unchanged, "num_workers": workers}
    made = beating(DataLoader(source, worker_init_fn=ignore_in_worker, **how))  # type: ignore[arg-type]
    if say is None:
        yield from made
        return
    from rich.progress import track

    yield from track(made, say, total=len(keys), transient=True)


def beating(items: Iterable[Any]) -> Iterator[Any]:
    """Give a sign of life with each item."""
    for item in items:
        heart.beat()
        yield item


def unchanged(item: Any) -> Any:
    """Return an item as it is."""
    return item
