"""Jobs that torchrun starts again after a process has failed: `torchrun --max-restarts N`.

The command line of the new attempt is the old one. What the first attempt leaves for it stands in the store of torchrun
itself, which is there as long as the job.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch._C._distributed_c10d import TCPStore

FOLDER = "condgen/run_folder"
_stores: list[TCPStore] = []
"""Stores that this process serves, for as long as it lives."""


def attempt() -> int:
    """Return how often torchrun has started this job again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def remember(folder: Path) -> None:
    """Let a later attempt know of the run's folder, if there may be one."""
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > attempt():
        agent_store().set(FOLDER, str(folder.absolute()))


def restarted_folder() -> Path | None:
    """Return the folder in which an earlier attempt has saved something; null if none has."""
    if not attempt():
        return None
    agent = agent_store()
    folder = Path(agent.get(FOLDER).decode()) if agent.check([FOLDER]) else None
    return folder if folder is not None and any(folder.glob("checkpoints/*.ckpt")) else None


def meet_anew() -> None:
    """Let the processes of a later attempt find each other in a new store.

    In torchrun's own they would find addresses of the attempt before, and call those who are gone.
    """
    if not attempt() or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    agent, key = agent_store(), f"condgen/port {attempt()}"
    if os.environ["RANK"] == "0":
        _stores.append(store(0, serve=True))
        agent.set(key, str(_stores[-1].port))
    os.environ["MASTER_PORT"] = agent.get(key).decode()
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"


def agent_store() -> TCPStore:
    """Return the store of torchrun, which is at the address that its processes are given."""
    return store(int(os.environ["MASTER_PORT"]), serve=False)


def store(port: int, *, serve: bool) -> TCPStore:
    """Return a store on the first machine, served by this process or by another one; port 0 is any free one."""
    from torch._C._distributed_c10d import TCPStore

    address = os.environ["MASTER_ADDR"]
    return TCPStore(address, port, is_master=serve, wait_for_workers=False, multi_tenant=serve)
