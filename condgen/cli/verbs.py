"""`condgen fit|validate|test|predict`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import lightning as L
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningCLI

from condgen.allocation import memory_kept
from condgen.checkpoints import CheckpointError, find_checkpoint, restore
from condgen.cli.errors import RunError, UserError
from condgen.cli.explain import explain
from condgen.cli.failures import failures
from condgen.cli.files import is_first_process
from condgen.cli.includes import expand_includes
from condgen.cli.lightning import CLI
from condgen.cli.lock import locked
from condgen.cli.quiet import quiet
from condgen.cli.restricted import restricted
from condgen.cli.resume import resumed_folder
from condgen.cli.rollback import options_of_retreat
from condgen.cli.saved_config import SaveConfig
from condgen.cli.summary import beginning, ending
from condgen.cli.tracking import tracked
from condgen.cli.watch import watched
from condgen.data import ImageDataModule
from condgen.report.model_card import training_run


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Run one of Lightning's verbs."""
    cli = start(verb, args, trusted)
    if cli.trainer.is_global_zero:
        print(ending(cli, verb))
    return 0


def start(verb: str, args: list[str], trusted: Sequence[str]) -> CLI:
    """Parse, build and run; return the CLI with its model, data and trainer."""
    quiet()
    with restricted(trusted):
        cli = build(verb, args, trusted)
        while True:
            try:
                execute(cli, verb)
                return cli
            except RunError as error:
                if verb != "fit" or not cli.config.fit.rollback:
                    raise
                again = options_of_retreat(cli, error)
            cli = build(verb, again, trusted)


def build(verb: str, args: list[str], trusted: Sequence[str]) -> CLI:
    """Parse, and build the model, the data and the trainer."""

    class Verb(CLI):
        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {verb: LightningCLI.subcommands()[verb]}

        def _run_subcommand(self, subcommand: str) -> None:
            """Wait: `execute` runs it, apart from what may fail while building."""

    Verb.trusted = trusted
    strict = {"exit_on_error": False, "allow_abbrev": False}
    if verb == "fit" and (folder := resumed_folder(args)) is not None:
        Verb.resumed = folder
        args = ["--config", str(folder / "config.yaml"), *args]
    if not args:
        run = "" if verb == "fit" else f", or a run: condgen {verb} RUN"
        raise UserError(f"{verb}: give a config, -c CONFIG{run}")
    if not args[0].startswith("-"):
        args = of_run(verb, *args)
    try:
        return Verb(
            L.LightningModule,
            ImageDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            parser_kwargs={**strict, verb: dict(strict)},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=[verb, *expand_includes(args)],
        )
    except CheckpointError as error:
        raise UserError(str(error)) from error
    except (ArgumentError, ValueError, TypeError, OSError, MisconfigurationException) as error:
        raise UserError(explain(error, ())) from error
    except (IndexError, OverflowError, MemoryError) as error:  # the parser fails at reasons that have no words
        raise UserError("model or data cannot be built: a number in the config is too large") from error


def of_run(verb: str, run: str, *options: str) -> list[str]:
    """Return the options of a verb that is given a run: its config, its checkpoint, and what else was given.

    Raises:
        UserError: If there is no such run, or the verb is to train.
    """
    if verb == "fit":
        raise UserError(f"fit takes options alone, got {run}; --resume {run} goes on with a run, -c FILE is a config")
    try:
        file = find_checkpoint(run)
    except CheckpointError as error:
        raise UserError(str(error)) from error
    folder = training_run(file)
    config = None if folder is None else folder / "config.yaml"
    if config is None or not config.is_file():
        raise UserError(f"{run} has no config.yaml beside it: give one as {verb} -c CONFIG --ckpt_path {run}")
    return ["--config", str(config), "--ckpt_path", str(file), *options]


def execute(cli: CLI, verb: str) -> None:
    """Run the trainer's method."""
    if cli.trainer.is_global_zero:
        print(beginning(cli), flush=True)
    if verb in ("validate", "test"):
        cli.config[verb]["verbose"] = False
    held = locked(cli.run_folder) if is_first_process() else nullcontext()
    watch = watched(cli.trainer, cli.config[verb].timeout)
    with held, memory_kept(), watch, failures(cli), tracked(cli, verb):
        if cli.exported is not None:
            cli.model.loaded_from, cli.config_init[verb].ckpt_path = cli.config_init[verb].ckpt_path, None
            restore(cli.model, cli.exported)
        LightningCLI._run_subcommand(cli, verb)
