"""condgen in which one of several processes fails: FAULT is `rank:batch:how`, and how is one of those below."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from torch import Tensor

from condgen.cli import main
from condgen.models.recorded import RecordedModule
from condgen.types import Batch


def raises() -> None:
    raise KeyError("no such thing")


FAULTS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "raise": raises,
    "exit": lambda: os._exit(3),
    "leave": lambda: sys.exit(4),
    "hang": lambda: time.sleep(1000),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "refuse": lambda: (_ for _ in ()).throw(OSError("disk full")),
}


def faulty(function: Callable[[RecordedModule, Batch, int], Tensor | None]) -> Callable[..., Tensor | None]:
    rank, batch, how = os.environ.get("FAULT", "-1:0:kill").split(":")

    def training_step(self: RecordedModule, *args: object) -> Tensor | None:
        first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        if first and (self.global_rank, self.batches_seen) == (int(rank), int(batch)):
            FAULTS[how]()
        return function(self, *args)  # type: ignore[arg-type]

    return training_step


if __name__ == "__main__":
    RecordedModule.training_step = faulty(RecordedModule.training_step)  # type: ignore[method-assign]
    sys.exit(main())
