"""What is said when the work of Lightning's verbs fails, or is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from traceback import walk_tb
from typing import TYPE_CHECKING

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.trainer.connectors import checkpoint_connector

from condgen.cli.blame import blamed
from condgen.cli.errors import RunError, UserError, lost_reader
from condgen.cli.files import is_first_process
from condgen.cli.summary import trust_flags
from condgen.interrupts import Interrupted

if TYPE_CHECKING:
    from condgen.cli.lightning import CLI

HINT = "(set CONDGEN_TRACEBACK=1 to see where)"
OF_DAMAGE = TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RuntimeError
"""What a checkpoint of wrong parts leads to."""


@contextmanager
def failures(cli: CLI) -> Iterator[None]:
    """Turn failures of the work that a user can mend into one line."""
    try:
        with unless_unused(cli):
            yield
    except (ValueError, OSError, FloatingPointError, MisconfigurationException) as error:
        raise RunError(lost_reader(error) or f"{error} {HINT}") from error
    except Interrupted:
        tell_how_to_go_on(cli)
        raise
    except Exception as error:
        if "Error(s) in loading state_dict" in str(error):
            raise UserError(f"the checkpoint does not fit the model: {str(error).splitlines()[1].strip()}") from error
        if lost := lost_reader(error):
            raise RunError(lost) from error
        if isinstance(error, OF_DAMAGE) and is_of_the_beginning(cli, error):
            told = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"
            file = cli.config_init[cli.subcommand].ckpt_path
            raise RunError(
                f"{file} may not be as condgen writes it, for {cli.subcommand} fails at once: {told} {HINT}"
            ) from error
        if option := blamed(error, cli.config[cli.subcommand]):
            raise UserError(f"{option} cannot be used in this run: {type(error).__name__}: {error}") from error
        raise


def is_of_the_beginning(cli: CLI, error: Exception) -> bool:
    """Tell whether work fails where a checkpoint lets it begin: as that is taken up, or in the first batch of training.

    Memory may be short anywhere, and of several processes one may fail for another's sake.
    """
    if isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and cli.trainer.world_size > 1):
        return False
    modules = {frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__)}
    if cli.beginning is None:
        return checkpoint_connector.__name__ in modules
    begun: int = cli.beginning["condgen"]["progress"].get("batches_seen", 0)
    return getattr(cli.model, "batches_seen", 0) <= begun + 1


@contextmanager
def unless_unused(cli: CLI) -> Iterator[None]:
    """Remove the folder of a new run that fails before it has written anything but its config."""
    try:
        yield
    except Exception:
        folder = cli.run_folder
        if is_first_process() and cli.resumed is None and {file.name for file in folder.iterdir()} <= {"config.yaml"}:
            (folder / "config.yaml").unlink(missing_ok=True)
            with suppress(OSError):  # others of that name stay
                folder.rmdir()
                folder.parent.rmdir()
        raise


def tell_how_to_go_on(cli: CLI) -> None:
    """Say what is left of a run that was stopped."""
    if cli.trainer.is_global_zero:
        print(f"run folder   {cli.run_folder}")
        if any(cli.run_folder.glob("checkpoints/*.ckpt")):
            print(f"next: condgen fit --resume {cli.run_folder}{trust_flags(cli)}")
