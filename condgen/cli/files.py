"""Config files that ship with condgen, and folders of runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from condgen.cli.elastic import remember
from condgen.cli.errors import UserError, nearest

if TYPE_CHECKING:
    from jsonargparse import Namespace

RUN_FOLDER = "CONDGEN_RUN_FOLDER"
PARENT = "CONDGEN_PARENT"
"""Tells a process who started it."""
PACKAGE = Path(__file__).resolve().parent.parent


def shipped(folder: str) -> Path:
    """Return a folder that is inside the installed package, or beside it in a checkout."""
    inside = PACKAGE / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


def run_name(config: Namespace) -> str:
    """Return the name that a config gives its run: its own, or that of its model and its data."""
    classes = (path.rpartition(".")[2] for path in (config.model.class_path, config.data.class_path))
    return str(config.name or "-".join(classes).lower())


def find_config(name: str, beside: Path | None = None) -> Path:
    """Find a config by its path, beside another config, in a run's folder, or by its name among the shipped ones.

    Raises:
        UserError: If there is none, naming the nearest.
    """
    configs = shipped("configs")
    for folder in (beside, Path(), configs):
        if folder is not None:
            for path in (folder / name, folder / name / "config.yaml"):
                if path.is_file():
                    return path
    if name and Path(name).is_dir():
        raise UserError(f"{name} is a folder, and no run's, for it has no config.yaml; give a config file or a run")
    here = [path.name for path in sorted(Path(name).parent.glob("*.yaml"))]
    known = [str(path.relative_to(configs)) for path in sorted(configs.rglob("*.yaml"))]
    raise UserError(f"no config file {name}{nearest(Path(name).name, here) or nearest(name, known)}")


def new_run_folder(root: str, name: str, suffix: str = "") -> Path:
    """Make `root/name/<stamp><suffix>`, never one that exists."""
    stamp = time.strftime("%Y%m%d-%H%M%S") + job()
    for again in ("", *(f"-{i}" for i in range(2, 100))):
        folder = Path(root) / name / f"{stamp}{suffix}{again}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"cannot make the run folder {folder}: {error.strerror}") from error
        return folder
    raise UserError(f"cannot make a new run folder in {Path(root) / name}")


def job() -> str:
    """Return what marks the folders of a SLURM job, which keeps its number when it is queued again; else nothing."""
    number, name = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_JOB_NAME")
    return f"-job{number}" if number and "SLURM_NTASKS" in os.environ and name not in ("bash", "interactive") else ""


def is_first_process() -> bool:
    """Tell whether this process is rank 0, or the only one, from the launcher's variables."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))


def parent() -> int | None:
    """Return the process that started this one as another process of its job; null if none of the job did."""
    number = os.environ.get(PARENT)
    return int(number) if number and "LOCAL_RANK" in os.environ and int(number) != os.getpid() else None


def shared_run_folder(root: str, name: str, suffix: str) -> Path:
    """Make the run's folder in the first process; the processes that it starts use the same."""
    if not is_first_process():
        return Path(os.environ.get(RUN_FOLDER, root))
    folder = new_run_folder(root, name, suffix)
    remember(folder)
    os.environ[RUN_FOLDER] = str(folder)
    return folder
