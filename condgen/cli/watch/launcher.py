"""The processes that this one starts beside itself."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import lightning as L
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch.distributed.constants import default_pg_timeout

from condgen.cli.elastic import meet_anew
from condgen.cli.files import PARENT

LONGEST = 1e8


class Launcher(_SubprocessScriptLauncher):
    """Starts processes as Lightning does, and leaves it to condgen's watch to look after them.

    Lightning's own observer looks every five seconds, and kills all without a word.
    """

    def launch(self, function: Callable[..., Any], *args: Any, trainer: L.Trainer | None = None, **kwargs: Any) -> Any:
        """Start the other processes of this machine, unless a cluster has, and call a function."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            os.environ[PARENT] = str(os.getpid())
            self._call_children_scripts()
        meet_anew()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


def take_over(trainer: L.Trainer, timeout: float) -> Launcher | None:
    """Let condgen start and watch a trainer's processes, if there are several; return what starts them.

    How long they may wait for each other is for the watch to say; torch's own limit comes after it.
    """
    strategy = cast(Any, trainer.strategy)
    if getattr(strategy, "_timeout", None) == default_pg_timeout:
        strategy._timeout = timedelta(seconds=min(2 * timeout + 60, LONGEST))
    theirs = strategy.launcher
    if not isinstance(theirs, _SubprocessScriptLauncher):
        return None
    strategy._launcher = Launcher(theirs.cluster_environment, theirs.num_processes, theirs.num_nodes)
    return cast(Launcher, strategy._launcher)


def ending(process: subprocess.Popen[Any], patience: float) -> str:
    """Say how a process ended, waiting for it for some seconds; nothing if it has not."""
    try:
        code = process.wait(patience)
    except subprocess.TimeoutExpired:
        return ""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def reap(processes: list[subprocess.Popen[Any]], patience: float) -> None:
    """Wait for processes to end, and kill those that do not."""
    until = time.monotonic() + patience
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
