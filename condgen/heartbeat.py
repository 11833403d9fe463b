"""Signs of life of a process: each batch, chunk of samples, block of data and write of a save gives one."""

from __future__ import annotations

import time


class Heart:
    """When this process last gave a sign of life."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def beat(self) -> None:
        """Give a sign; costs less than a microsecond."""
        self._last = time.monotonic()

    def silence(self) -> float:
        """Return the seconds since the last sign."""
        return time.monotonic() - self._last


heart = Heart()
"""Of this process."""
