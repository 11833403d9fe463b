"""`condgen fit|validate|test|predict`: LightningCLI, with run folders and one-line errors."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import lightning as L
from jsonargparse import ArgumentError, Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

import condgen.conditions
import condgen.data
import condgen.metrics
import condgen.models
import condgen.nets
import condgen.objectives
import condgen.processes  # noqa: F401 - so that classes can be named without their module
from condgen.callbacks import (
    Checkpoint,
    CollapseWatch,
    CompileNets,
    EvaluateLikelihood,
    EvaluateSamples,
    ExportRecogniser,
    RunProgress,
    SampleGrid,
    TrainingTime,
    WritePredictions,
)
from condgen.checkpoints import CheckpointError, find_checkpoint, read_checkpoint
from condgen.cli.callbacks import check_monitor, suited_to
from condgen.cli.errors import RunError, UserError
from condgen.cli.explain import explain
from condgen.cli.files import is_first_process, new_run_folder
from condgen.cli.includes import expand_includes
from condgen.cli.profiler import NoProfiler
from condgen.cli.trainer_flags import check_trainer, strategy_for
from condgen.data import ImageDataModule

LINKED = ("image_shape", "cond_spec")
RUN_FOLDER = "CONDGEN_RUN_FOLDER"


class CLI(LightningCLI):
    """Adds to LightningCLI: a new folder per run, condgen's callbacks, and checks before anything is built."""

    run_folder: Path

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name, condgen's callbacks, and the links from data to model."""
        parser.add_argument("--include", type=list[str] | None, default=None, help="configs to read before this one")
        parser.add_argument("--name", type=str | None, default=None, help="name of the run; default MODEL-DATA")
        parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
        parser.add_lightning_class_args(Checkpoint, "checkpoint")
        parser.add_lightning_class_args(SampleGrid, "grid")
        parser.add_lightning_class_args(CollapseWatch, "collapse")
        parser.add_lightning_class_args(EvaluateSamples, "evaluation")
        parser.add_lightning_class_args(EvaluateLikelihood, "likelihood")
        parser.add_lightning_class_args(CompileNets, "compile")
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
        parser.set_defaults({"seed_everything": 0})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse without looking at the process's own command line."""
        try:
            self.config = parser.parse_args(cast(list[str], args))
        except ArgumentError as error:
            raise UserError(explain(error, self._options())) from error

    def _options(self) -> list[str]:
        (parser,) = self._subcommand_parsers.values()
        return [flag.removeprefix("--") for flag in parser._option_string_actions if flag.startswith("--")]

    def _parse_ckpt_path(self) -> None:
        """Check the checkpoint; hyperparameters in it never override the config."""
        verb = self.config.subcommand
        config = self.config[verb]
        if config.weights_only is False:
            raise UserError("weights_only cannot be false: a checkpoint is data, never code")
        config.weights_only = True
        if not config.ckpt_path:
            if verb == "fit":
                return
            raise UserError(f"{verb} needs a checkpoint: give --ckpt_path RUN_OR_FILE")
        config.ckpt_path = str(find_checkpoint(config.ckpt_path))
        done, last = read_checkpoint(config.ckpt_path).get("global_step", 0), config.trainer.max_steps
        if verb == "fit" and 0 <= last <= done:
            raise UserError(f"{config.ckpt_path} is at step {done} of {last}; raise --trainer.max_steps to go on")

    def before_instantiate_classes(self) -> None:
        """Refuse what would be ignored or fail late."""
        config = self.config[self.subcommand]
        config["include"] = None
        init_args = config.model.get("init_args") or Namespace()
        for name in LINKED:
            if init_args.get(name) is not None:
                raise UserError(f"model.{name} comes from the data and cannot be given")

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Make the run's folder and the trainer that writes into it."""
        config = self.config_init[self.subcommand]
        check_trainer(self.model, config.trainer)
        name = config.name or f"{type(self.model).__name__}-{type(self.datamodule).__name__}".lower()
        suffix = "" if self.subcommand == "fit" else f"-{self.subcommand}"
        self.run_folder = shared_run_folder(config.runs, name, suffix)
        given = config.trainer.get("logger")
        others = given if isinstance(given, list) else [given] if given not in (None, True, False) else []
        kwargs["default_root_dir"] = str(self.run_folder)
        kwargs["logger"] = [CSVLogger(self.run_folder, name="", version=""), *others]
        if config.trainer.profiler is None:
            kwargs["profiler"] = NoProfiler()
        if config.trainer.strategy == "auto" and not self.model.automatic_optimization:
            kwargs["strategy"] = strategy_for(config.trainer)
        try:
            return super().instantiate_trainer(**kwargs)
        except Exception:
            if is_first_process():
                self.run_folder.rmdir()
            raise

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[L.Callback]) -> L.Trainer:
        callbacks = suited_to(self.model, callbacks)
        if config.get("enable_progress_bar") is not False:
            callbacks.append(RunProgress())
        if config.get("enable_checkpointing") is False:
            callbacks = [c for c in callbacks if not isinstance(c, Checkpoint)]
        check_monitor(self.model, callbacks)
        beside: L.Callback = WritePredictions() if self.subcommand == "predict" else ExportRecogniser()
        callbacks = [TrainingTime(), *callbacks, *suited_to(self.model, [beside])]
        trainer: L.Trainer = super()._instantiate_trainer(config, callbacks)
        return trainer


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` without the checkpoint that the run began from, which stands in a comment on top."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace, **kwargs: Any) -> None:
        config = config.clone()
        if config.get("ckpt_path"):
            parser.dump_header = [*(parser.dump_header or []), f"checkpoint: {config.ckpt_path}"]
            config.ckpt_path = None
        super().__init__(parser, config, **kwargs)


def shared_run_folder(root: str, name: str, suffix: str) -> Path:
    """Make the run's folder in the first process; the processes that it starts use the same."""
    if not is_first_process():
        return Path(os.environ.get(RUN_FOLDER, root))
    folder = new_run_folder(root, name, suffix)
    os.environ[RUN_FOLDER] = str(folder)
    return folder


def run(verb: str, args: list[str]) -> int:
    """Run one of Lightning's verbs."""
    start(verb, args)
    return 0


def start(verb: str, args: list[str]) -> CLI:
    """Parse, build and run; return the CLI with its model, data and trainer."""
    cli = build(verb, args)
    execute(cli, verb)
    return cli


def build(verb: str, args: list[str]) -> CLI:
    """Parse, and build the model, the data and the trainer."""
    quiet()

    class Verb(CLI):
        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {verb: LightningCLI.subcommands()[verb]}

        def _run_subcommand(self, subcommand: str) -> None:
            """Wait: `execute` runs it, apart from what may fail while building."""

    strict = {"exit_on_error": False}
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


def execute(cli: CLI, verb: str) -> None:
    """Run the trainer's method."""
    if cli.trainer.is_global_zero:
        print(summary(cli), flush=True)
    if verb in ("validate", "test"):
        cli.config[verb]["verbose"] = False
    with failures(cli):
        LightningCLI._run_subcommand(cli, verb)
    if cli.trainer.is_global_zero:
        print(f"run folder   {cli.run_folder}")


@contextmanager
def failures(cli: CLI) -> Iterator[None]:
    """Turn failures of the work that a user can mend into one line."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError, MisconfigurationException) as error:
        raise RunError(f"{error} (set CONDGEN_TRACEBACK=1 to see where)") from error
    except SystemExit as error:  # Lightning's answer to Ctrl-C
        print(f"run folder   {cli.run_folder}")
        raise KeyboardInterrupt if cli.trainer.interrupted else error from error
    except RuntimeError as error:
        if "Error(s) in loading state_dict" in str(error):
            raise UserError(f"the checkpoint does not fit the model: {str(error).splitlines()[1].strip()}") from error
        raise


def summary(cli: CLI) -> str:
    """Say what runs on what."""
    count = sum(p.numel() for p in cli.model.parameters() if p.requires_grad)
    device = cli.trainer.strategy.root_device.type
    return (
        f"{type(cli.model).__name__} with {count:,} trained parameters on {type(cli.datamodule).__name__} "
        f"{'x'.join(map(str, cli.datamodule.image_shape))}, {cli.trainer.world_size} x {device}, "
        f"precision {cli.trainer.precision}, seed {os.environ.get('PL_GLOBAL_SEED')}"
    )


def quiet() -> None:
    """Keep Lightning's hints and warnings of its own internals off the screen."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*Couldn't infer the batch indices.*")  # batches carry their own
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # the scores are those of all processes
    warnings.filterwarnings("ignore", message=".*in eval mode at the start.*")  # the averaged net
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")  # batches count, not epochs
    warnings.filterwarnings("ignore", message=".*ModelCheckpoint with manual optimization.*")  # steps are whole here
    warnings.filterwarnings("ignore", message=".*The dirpath has changed.*")  # each run has a folder of its own
