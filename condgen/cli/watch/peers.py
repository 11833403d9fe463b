"""What processes of a job know of each other."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from condgen.cli.watch.base import Fate, where
from condgen.cli.watch.wire import Line, host
from condgen.heartbeat import heart

KEY = "condgen/watch"
"""Where torch's store has the address of the first process's watch."""
PERIOD = 1.0
"""Seconds between two reports."""
SILENT = 5.0
"""Seconds without a report after which a process does not answer."""


@dataclass
class Report:
    """What a process says of itself.

    Attributes:
        silence: Seconds since its last sign of life.
        operations: Collective operations that it has begun: those who wait have begun more than the one they wait for.
        where: Where its main thread is.
        at: When this came.
    """

    silence: float = 0.0
    operations: int = 0
    where: str = ""
    at: float = field(default_factory=time.monotonic)

    @staticmethod
    def own() -> Report:
        """Report on this process."""
        return Report(heart.silence(), operations(), where())

    def age(self) -> float:
        """Return the seconds since the last sign of life that is known of."""
        return self.silence + time.monotonic() - self.at

    def answers(self) -> bool:
        """Tell whether the report is a new one."""
        return time.monotonic() - self.at < SILENT


@dataclass
class Peer:
    """Another process, and what it has said."""

    line: Line
    pid: int
    host: str
    report: Report = field(default_factory=Report)
    outcome: Fate | None = None

    def kill(self) -> None:
        """Kill it, if it is on this machine."""
        if self.host and self.host == host():
            os.kill(self.pid, signal.SIGKILL)


def hear(peer: Peer, message: dict[str, Any]) -> None:
    """Note a message."""
    if "code" in message:
        peer.outcome = Fate(int(message["code"]), str(message["told"]))
    elif "done" in message:
        peer.outcome = Fate(0, "")
    elif "alive" in message:
        peer.report = Report()
    elif "silence" in message:
        peer.report = Report(float(message["silence"]), int(message["operations"]), str(message["where"]))


def meeting_place() -> Any:
    """Return the store by which torch's processes found each other; null before they have, or when it is gone."""
    if not torch.distributed.is_initialized():
        return None
    return torch.distributed.distributed_c10d._get_default_store()


def operations() -> int:
    """Return how many collective operations this process has begun."""
    if not torch.distributed.is_initialized():
        return 0
    group: Any = torch.distributed.distributed_c10d._get_default_group()
    return int(group._get_sequence_number_for_group())
