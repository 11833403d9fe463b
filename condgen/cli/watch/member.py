"""The watch in the other processes, which is connected to the one in the first."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from condgen.cli.files import parent
from condgen.cli.watch.base import LOST, Fate, Place, Watch, hanging
from condgen.cli.watch.peers import KEY, PERIOD, SILENT, Peer, Report, hear, meeting_place
from condgen.cli.watch.wire import Line, host
from condgen.heartbeat import heart


class Member(Watch):
    """In the other processes: reports to the first one, and ends when that says so, or is gone."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.hub: Peer | None = None
        self._reported_at = 0.0
        self._parent = parent()
        self._is_alone = False

    def lines(self) -> Sequence[Any]:
        """Wake for messages."""
        return [self.hub.line] if self.hub is not None and self.hub.line.open else []

    def absent(self) -> list[int]:
        """Return the first process's rank, if that has not been reached."""
        return [0] if self.hub is None else []

    def speaks(self) -> bool:
        """Speak for the first process too, if that cannot any more."""
        return super().speaks() or (self._is_alone and self.place.rank == 1)

    def look(self, ready: Sequence[object]) -> Fate | None:
        """Hear what is new, and report."""
        if self._parent is not None and os.getppid() != self._parent:
            return self._alone(f"rank 0 {LOST}")
        if self.hub is None:
            try:
                self.hub = self._call()
            except (OSError, RuntimeError):  # torch's errors of networks are such
                return self._alone(f"rank 0 {LOST}")
            if self.hub is None:
                return super().look(ready)
        if self.hub.line in ready:
            for message in self.hub.line.receive():
                hear(self.hub, message)
        if self.outcome is not None:
            self.hub.line.send({"code": self.outcome.code, "told": self.outcome.told})
            self.told.set()
        elif time.monotonic() - self._reported_at > PERIOD:
            self._reported_at = time.monotonic()
            report = Report.own()
            self.hub.line.send({"silence": report.silence, "operations": report.operations, "where": report.where})
        return self._judge(self.hub)

    def _judge(self, hub: Peer) -> Fate | None:
        if hub.outcome is not None:
            return hub.outcome if hub.outcome.code else None
        if not hub.line.open:
            return self._alone(f"rank 0 {LOST}")
        if min(hub.report.age(), heart.silence()) > self.place.timeout + SILENT:
            hub.kill()
            return self._alone(hanging("rank 0 is not answering", self.place.timeout, "").told)
        return None

    def missed(self) -> Fate | None:
        """Say that the first process has ended before it was reached, if so."""
        fate = super().missed()
        return fate and self._alone(fate.told)

    def _alone(self, told: str) -> Fate:
        self._is_alone = True
        return Fate(1, told)

    def _call(self) -> Peer | None:
        """Connect to the first process, once it has said where."""
        store = meeting_place()
        if store is None or not store.check([KEY]):
            return None
        address, port, token, pid, *where_it_is = store.get(KEY).decode().split(" ")
        line = Line(socket.create_connection((address, int(port)), timeout=5.0))
        line.send({"token": token, "rank": self.place.rank, "pid": os.getpid(), "host": host()})
        return Peer(line, int(pid), " ".join(where_it_is))
