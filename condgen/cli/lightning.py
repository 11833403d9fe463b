"""LightningCLI, with run folders and one-line errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
from jsonargparse import ArgumentError, Namespace
from jsonargparse.typing import PositiveFloat
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

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
    RunLog,
    RunProgress,
    SampleGrid,
    TrainingTime,
    WandbLog,
    WritePredictions,
)
from condgen.checkpoints import find_checkpoint, read_checkpoint
from condgen.checkpoints.export import is_export
from condgen.cli.blame import set_up_by
from condgen.cli.callbacks import check_monitor, suited_to
from condgen.cli.errors import RUN_OR_FILE, UserError
from condgen.cli.explain import explain, shortened
from condgen.cli.files import is_first_process, run_name, shared_run_folder
from condgen.cli.precision import choose_precision
from condgen.cli.profiler import NoProfiler
from condgen.cli.restricted import check_config
from condgen.cli.resume import LAST, add_resume, check_changes, check_parts, check_processes, finished, run_to_go_on
from condgen.cli.same_data import SameData
from condgen.cli.secrets import refuse_secrets
from condgen.cli.tracking import tags
from condgen.cli.trainer_flags import check_optimizers, check_sync, check_trainer, strategy_for, with_atomic_saves

LINKED = ("image_shape", "cond_spec")


class CLI(LightningCLI):
    """Adds to LightningCLI: a new folder per run, condgen's callbacks, and checks before anything is built."""

    run_folder: Path
    resumed: Path | None = None
    trusted: Sequence[str] = ()
    beginning: dict[str, Any] | None = None
    exported: dict[str, Any] | None = None
    precision_reason: str | None = None

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name, condgen's callbacks, and the links from data to model."""
        parser.add_argument("--include", type=list[str] | None, default=None, help="configs to read before this one")
        parser.add_argument("--name", type=str | None, default=None, help="name of the run; default MODEL-DATA")
        parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
        parser.add_argument(
            "--timeout", type=PositiveFloat, default=1800.0, help="seconds without progress before it ends"
        )
        parser.add_lightning_class_args(Checkpoint, "checkpoint")
        parser.add_lightning_class_args(SampleGrid, "grid")
        parser.add_lightning_class_args(CollapseWatch, "collapse")
        parser.add_lightning_class_args(EvaluateSamples, "evaluation")
        parser.add_lightning_class_args(EvaluateLikelihood, "likelihood")
        parser.add_lightning_class_args(CompileNets, "compile")
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
        parser.set_defaults({"seed_everything": 0})
        if "fit" in self.subcommands():
            add_resume(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse without looking at the process's own command line."""
        try:
            self.config = parser.parse_args(cast(list[str], args))
            check_config(self.config, self.trusted)
            self._check_groups(self.config[self.config.subcommand])
            refuse_secrets(self.config[self.config.subcommand])
            if self.config.subcommand == "fit":
                self._find_run(parser, self.config.fit)
        except ArgumentError as error:
            raise UserError(explain(error, self._options())) from error

    def _find_run(self, parser: LightningArgumentParser, config: Namespace) -> None:
        """Find the run that goes on, if one does, and refuse a config by which it would not go on as it began."""
        if self.resumed is None and (found := run_to_go_on(config)) is not None:
            self.resumed, config.resume, config.ckpt_path = found, str(found), None
        if self.resumed is not None:
            began = parser.parse_args(["fit", "--config", str(self.resumed / "config.yaml")])
            check_changes(self.resumed, began.fit, config, self._subcommand_parsers["fit"])

    def _check_groups(self, config: Namespace) -> None:
        """Refuse a single value where options belong, which jsonargparse takes."""
        for name in dict.fromkeys(option.partition(".")[0] for option in self._options() if "." in option):
            if not isinstance(config.get(name), Namespace):
                raise UserError(f"{name} must hold options by their names, got {shortened(repr(config.get(name)))}")

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
        if config.ckpt_path == "":
            raise UserError(f"--ckpt_path is empty; give {RUN_OR_FILE}")
        if verb == "fit":
            self._choose_start(config)
        elif config.ckpt_path == LAST and not Path(LAST).exists():
            raise UserError(f"--ckpt_path {LAST} is for fit; {verb} takes {RUN_OR_FILE}")
        elif config.ckpt_path:
            config.ckpt_path = str(find_checkpoint(config.ckpt_path))
            content = read_checkpoint(config.ckpt_path)
            self.exported = content if is_export(content) else None
        else:
            raise UserError(f"{verb} needs a checkpoint: condgen {verb} RUN, or give --ckpt_path RUN_OR_FILE")

    def _choose_start(self, config: Namespace) -> None:
        """Let a run go on in its folder, or begin in a new one, from a checkpoint or from nothing."""
        if self.resumed is not None and config.ckpt_path:
            raise UserError("give --resume RUN to go on in its folder or --ckpt_path RUN to begin a new one, not both")
        beginning = config.ckpt_path or self.resumed
        if beginning is not None:
            config.ckpt_path = str(find_checkpoint(beginning))
            self.beginning = read_checkpoint(config.ckpt_path)
            if is_export(self.beginning):
                raise UserError(f"{config.ckpt_path} holds what sampling needs alone; train on from a run's checkpoint")
            check_parts(self.beginning, config.ckpt_path, of_run=self.resumed is not None)
            if what := finished(self.beginning, config.trainer):
                raise UserError(f"{config.ckpt_path} {what}")
            if self.resumed is not None and is_first_process():
                print(f"goes on from step {self.beginning['global_step']} in {self.resumed}")

    def before_instantiate_classes(self) -> None:
        """Refuse what would be ignored or fail late, and choose the precision where it is left open."""
        config = self.config[self.subcommand]
        config["include"] = None
        init_args = config.model.get("init_args") or Namespace()
        for name in LINKED:
            if init_args.get(name) is not None:
                raise UserError(f"model.{name} comes from the data and cannot be given")
        if self.subcommand == "validate" and config.trainer.limit_val_batches == 0:
            config.trainer.limit_val_batches = None  # that was about validation within `fit`
        if self.subcommand == "fit":
            self.precision_reason = choose_precision(config.trainer, self.resumed)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Make the run's folder and the trainer that writes into it."""
        config = self.config_init[self.subcommand]
        check_trainer(self.model, config.trainer)
        if self.subcommand == "fit":
            check_optimizers(self.model)
        suffix = "" if self.subcommand == "fit" else f"-{self.subcommand}"
        self.run_folder = self.resumed or shared_run_folder(config.runs, run_name(self.config[self.subcommand]), suffix)
        given = config.trainer.get("logger")
        others = given if isinstance(given, list) else [given] if given not in (None, True, False) else []
        for logger in others:
            if isinstance(logger, WandbLog):
                logger.place(self.run_folder, tags(self))
        kwargs["default_root_dir"] = str(self.run_folder)
        kwargs["plugins"] = with_atomic_saves(config.trainer.get("plugins"))
        kwargs["logger"] = [RunLog(self.run_folder), *others]
        if config.trainer.profiler is None:
            kwargs["profiler"] = NoProfiler()
        if config.trainer.strategy == "auto":
            kwargs["strategy"] = strategy_for(self.model, config.trainer)
        try:
            trainer = super().instantiate_trainer(**kwargs)
            check_sync(config.trainer, trainer.strategy.root_device)
        except Exception as error:
            if is_first_process() and self.resumed is None:
                self.run_folder.rmdir()
            if isinstance(error, ImportError | RuntimeError | AttributeError):
                given = set_up_by(self.config[self.subcommand].trainer, precision=self.precision_reason is None)
                raise UserError(f"the trainer cannot be set up with {given}: {error}") from error
            raise
        self.model.settings_from_config = self.resumed is None or config.allow_changes
        if self.resumed is not None and self.beginning is not None and not config.allow_changes:
            check_processes(self.beginning, self.resumed, trainer.world_size)
        return trainer

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[L.Callback]) -> L.Trainer:
        callbacks = suited_to(self.model, callbacks)
        if config.get("enable_progress_bar") is not False:
            callbacks.append(RunProgress())
        if config.get("enable_checkpointing") is False:
            callbacks = [c for c in callbacks if not isinstance(c, Checkpoint)]
        check_monitor(self.model, callbacks)
        beside: L.Callback = WritePredictions() if self.subcommand == "predict" else ExportRecogniser()
        callbacks = [TrainingTime(), *callbacks, *suited_to(self.model, [beside])]
        if self.resumed is not None and self.beginning is not None and not self.config.fit.allow_changes:
            callbacks = [SameData(self.resumed, self.beginning), *callbacks]
        trainer: L.Trainer = super()._instantiate_trainer(config, callbacks)
        return trainer
