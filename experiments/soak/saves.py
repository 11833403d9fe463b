"""A process killed at each write, fsync and rename of a save, with TMPDIR on another filesystem.

What is there afterwards is the old checkpoint or the new one, whole, and the next save removes what is left over.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from condgen.checkpoints import AtomicCheckpointIO, find_checkpoint, read_checkpoint
from condgen.checkpoints.sealed import SealedWriter
from experiments.soak.runs import CGAN, equal, fit, in_child

TRIALS = 780
"""One for each of the 779 events of this save, and one to its end."""
OLD, NEW = 5, 6
IO = AtomicCheckpointIO()


def prepare(folder: Path) -> dict[str, Any]:
    """Train a little, and count the events of a save."""
    content = read_checkpoint(fit(folder, *CGAN, "--trainer.max_steps", "2"))
    count = folder / "count"

    def counted() -> int:
        events = Events(None)
        IO.save_checkpoint(content, folder / "a.ckpt")
        count.write_text(str(events.count))
        return 0

    assert in_child(counted) == 0
    return {"content": content, "events": int(count.read_text())}


class Events:
    """Counts what a save asks of the operating system, and kills the process before the `fatal`-th of it."""

    def __init__(self, fatal: int | None) -> None:
        self.count, self.fatal = 0, fatal
        SealedWriter._pass_on = self.counting(SealedWriter._pass_on)  # type: ignore[method-assign]
        os.fsync, os.replace = self.counting(os.fsync), self.counting(os.replace)

    def counting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if self.count == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            self.count += 1
            if function.__name__ == "_pass_on":
                args[0].file.flush()  # what was written is in the file
            return function(*args)

        call.__name__ = function.__name__
        return call


def trial(seed: int, prepared: dict[str, Any], folder: Path) -> dict[str, Any]:
    event = seed % (prepared["events"] + 1)
    file = folder / "checkpoints" / "last.ckpt"
    other = Path("/dev/shm")
    assert other.stat().st_dev != folder.stat().st_dev, "TMPDIR is on the same filesystem"
    IO.save_checkpoint({**prepared["content"], "global_step": OLD}, file)

    def save() -> int:
        tempfile.tempdir = str(other)
        Events(event)
        IO.save_checkpoint({**prepared["content"], "global_step": NEW}, file)
        return 0

    code = in_child(save)
    assert code == (0 if event == prepared["events"] else -signal.SIGKILL), code
    assert find_checkpoint(folder) == file
    content = read_checkpoint(file)
    assert content["global_step"] in (OLD, NEW)
    assert not equal({**content, "global_step": 0}, {**prepared["content"], "global_step": 0})
    IO.save_checkpoint(content, file)
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]
    return {"kills": int(code != 0), f"{'old' if content['global_step'] == OLD else 'new'} checkpoints found": 1}
