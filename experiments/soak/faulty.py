"""condgen in which one of several processes fails: `python -m experiments.soak.faulty fit ...`.

FAULT in the environment says how: `rank:phase:call:how`, of the phases and ways below. When it happens is written to
the file FAULT_AT, and happens once where that file is kept.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from condgen.callbacks import EvaluateSamples
from condgen.callbacks.saving import Saving
from condgen.cli import main
from condgen.models.recorded import RecordedModule

PHASES: dict[str, tuple[Any, str, int]] = {
    "batch": (RecordedModule, "training_step", 12),
    "validation": (EvaluateSamples, "on_validation_epoch_end", 4),
    "save": (Saving, "_save", 4),
}
"""Where each happens, and how often in a run of `experiments.soak.ranks`."""


def raises() -> None:
    raise KeyError("no such thing")


def refuses() -> None:
    raise OSError("the disk is full")


HOW: dict[str, tuple[Callable[[], object], str]] = {
    "kill": (lambda: os.kill(os.getpid(), signal.SIGKILL), "is lost: it was killed"),
    "raise": (raises, "failed: KeyError: 'no such thing'"),
    "refuse": (refuses, "failed: the disk is full"),
    "exit": (lambda: os._exit(3), "is lost: it was killed, or ended without a word"),
    "leave": (lambda: sys.exit(4), "ended with exit code 4"),
    "hang": (lambda: time.sleep(1000), "is hanging: no progress for"),
    "stop": (lambda: os.kill(os.getpid(), signal.SIGSTOP), "is not answering: no progress for"),
}
"""What a process does, and what is said of it by those who have not started it."""


def bring_in(fault: str) -> None:
    """Let this process fail, if it is the one that is meant."""
    rank, phase, call, how = fault.split(":")
    owner, name, _ = PHASES[phase]
    function, calls = getattr(owner, name), [0]
    told = Path(os.environ["FAULT_AT"])

    def failing(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        mine = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK", "0")
        if mine == rank and calls[0] == int(call) and not told.exists():
            told.write_text(str(time.time()))
            HOW[how][0]()
        return function(*args, **kwargs)

    setattr(owner, name, failing)


if __name__ == "__main__":
    if "FAULT" in os.environ:
        bring_in(os.environ["FAULT"])
    sys.exit(main())
