"""Messages between the watches of a job's processes."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LONGEST = 1 << 16
PROBES = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5000}
"""Let the kernel find out within 5 seconds that another machine is gone, whatever its processes do."""


class Line:
    """A connection to another process, which ends with either of them. A message is a line of JSON.

    Attributes:
        open: Whether the other end is there.
    """

    def __init__(self, link: socket.socket) -> None:
        link.settimeout(1.0)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in PROBES.items():
            if hasattr(socket, name):
                link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self.open = True
        self._link = link
        self._rest = b""

    def fileno(self) -> int:
        """Return the number by which `select` waits for messages."""
        return self._link.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message, if the other end is there."""
        try:
            self._link.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.open = False

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages that have come."""
        try:
            data = self._link.recv(LONGEST)
        except TimeoutError:
            return []
        except OSError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.open = self.open and bool(data) and len(self._rest) < LONGEST
        try:
            return [message for message in map(json.loads, lines) if isinstance(message, dict)]
        except ValueError:  # no process of this job
            self.open = False
            return []

    def close(self) -> None:
        """Hang up."""
        self.open = False
        self._link.close()


def listen() -> socket.socket:
    """Return a socket that waits for connections, on a free port of all of this machine's addresses."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


def host() -> str:
    """Name what processes must share so that one can end another: the boot of a machine, and its numbering."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
