"""The watch in the first of several processes, which the others are connected to."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from secrets import token_hex
from typing import Any

from condgen.cli.watch.base import LOST, REAP, Fate, Place, Watch, hanging
from condgen.cli.watch.launcher import ending
from condgen.cli.watch.peers import KEY, PERIOD, Peer, Report, hear, meeting_place
from condgen.cli.watch.wire import Line, host, listen


class Hub(Watch):
    """In the first process: hears of all others, and says when the job must end."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.peers: dict[int, Peer] = {}
        self._strangers: list[Line] = []
        self._server = listen()
        self._token = token_hex(16)
        self._is_published = False
        self._alive_at = 0.0

    def lines(self) -> Sequence[Any]:
        """Wake for new connections and for messages."""
        return [self._server, *(line for line in self._strangers + self._connected() if line.open)]

    def _connected(self) -> list[Line]:
        return [peer.line for peer in self.peers.values()]

    def absent(self) -> list[int]:
        """Return those that have not been heard of."""
        return sorted(set(range(1, self.place.processes)) - self.peers.keys())

    def look(self, ready: Sequence[object]) -> Fate | None:
        """Hear what is new, and judge."""
        store = meeting_place()
        if store is not None and not self._is_published:
            address = [os.environ.get("MASTER_ADDR", "127.0.0.1"), self._server.getsockname()[1], self._token]
            store.set(KEY, " ".join([*map(str, address), str(os.getpid()), host()]))
            self._is_published = True
        if self._server in ready:
            self._strangers.append(Line(self._server.accept()[0]))
        for line in [line for line in self._strangers if line in ready]:
            self._welcome(line)
        for peer in [peer for peer in self.peers.values() if peer.line in ready]:
            for message in peer.line.receive():
                hear(peer, message)
        if time.monotonic() - self._alive_at > PERIOD:
            self._alive_at = time.monotonic()
            self._send({"alive": True})
        self._settle()
        return self._failed() or self.fallen(self.peers) or self.hangs() or self.stuck() or self.missed()

    def _welcome(self, line: Line) -> None:
        """Learn who has called; who does not know the token is no process of this job."""
        first, *others = line.receive() or [{}]
        if first.get("token") == self._token:
            peer = self.peers[int(first["rank"])] = Peer(line, int(first["pid"]), str(first["host"]))
            self._strangers.remove(line)
            for message in others:
                hear(peer, message)
        elif first or not line.open:
            line.close()
            self._strangers.remove(line)

    def _settle(self) -> None:
        """Pass on that this process has failed; or that it is done, once the others are."""
        if self.outcome is None:
            return
        if self.outcome.code:
            self.spread(self.outcome)
            self.told.set()
        elif self.is_together() and all(peer.outcome is not None for peer in self.peers.values()):
            self._send({"done": True})
            self.told.set()

    def _failed(self) -> Fate | None:
        for rank, peer in self.peers.items():
            if peer.outcome is not None and peer.outcome.code:
                return peer.outcome
            if peer.outcome is None and not peer.line.open:
                process = self.started().get(rank)
                return Fate(1, f"rank {rank} {(process and ending(process, 1.0)) or LOST}")
        return None

    def hangs(self) -> Fate | None:
        """Say who makes no progress when none does: who does not answer, or else has begun the fewest operations."""
        reports = {self.place.rank: Report.own(), **{rank: peer.report for rank, peer in self.peers.items()}}
        if min(report.age() for report in reports.values()) <= self.place.timeout:
            return None
        if absent := self.absent():
            return hanging(f"{named(absent)} missing", self.place.timeout, "")
        mute = {rank for rank, report in reports.items() if not report.answers()}
        fewest = min(report.operations for report in reports.values())
        ranks = sorted(mute or {rank for rank, report in reports.items() if report.operations == fewest})
        for rank in mute:
            self.peers[rank].kill()
        verb = "not answering" if mute else "hanging"
        return hanging(f"{named(ranks)} {verb}", self.place.timeout, reports[ranks[0]].where)

    def spread(self, fate: Fate) -> None:
        """Tell all."""
        self._send({"code": fate.code, "told": fate.told})

    def _send(self, message: dict[str, Any]) -> None:
        for line in self._connected():
            if line.open:
                line.send(message)

    def clear(self) -> None:
        """Wait for the others of this machine to end, and kill those that do not."""
        until = time.monotonic() + REAP
        while time.monotonic() < until and any(line.open for line in self._connected()):
            for line in self._connected():
                if line.open:
                    line.receive()
        for peer in self.peers.values():
            if peer.line.open:
                peer.kill()
        super().clear()


def named(ranks: list[int]) -> str:
    """Begin to say something of ranks."""
    return f"rank {ranks[0]} is" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))} are"
