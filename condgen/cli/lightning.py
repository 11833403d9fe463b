"""`condgen fit|validate|test|predict`: LightningCLI, with run folders and one-line errors."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
import yaml
from jsonargparse import ArgumentError, Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

import condgen.conditions
import condgen.data
import condgen.metrics
import condgen.models
import condgen.nets
import condgen.objectives  # noqa: F401 - so that classes can be named without their module
from condgen.callbacks import Checkpoint, EvaluateSamples, RunProgress, SampleGrid, WritePredictions
from condgen.checkpoints import CheckpointError, find_checkpoint, read_checkpoint
from condgen.cli.errors import RunError, UserError
from condgen.cli.explain import explain
from condgen.cli.files import find_config, is_first_process, new_run_folder
from condgen.data import ImageDataModule
from condgen.models import AdversarialModel, GenerativeModel

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
        parser.add_lightning_class_args(EvaluateSamples, "evaluation")
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
        config = self.config[self.config.subcommand]
        if config.get("ckpt_path"):
            config["ckpt_path"] = str(find_checkpoint(config["ckpt_path"]))
            read_checkpoint(config["ckpt_path"])
        if "weights_only" in config:
            config["weights_only"] = True

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
        self.run_folder = shared_run_folder(config.runs, name)
        given = config.trainer.get("logger")
        others = given if isinstance(given, list) else [given] if given not in (None, True, False) else []
        kwargs["default_root_dir"] = str(self.run_folder)
        kwargs["logger"] = [CSVLogger(self.run_folder, name="", version=""), *others]
        if config.trainer.strategy == "auto" and not self.model.automatic_optimization:
            kwargs["strategy"] = strategy_for(config.trainer)
        return super().instantiate_trainer(**kwargs)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[L.Callback]) -> L.Trainer:
        if not isinstance(self.model, GenerativeModel):
            callbacks = [c for c in callbacks if not isinstance(c, EvaluateSamples | SampleGrid)]
        if config.get("enable_progress_bar") is not False:
            callbacks.append(RunProgress())
        if config.get("enable_checkpointing") is False:
            callbacks = [c for c in callbacks if not isinstance(c, Checkpoint)]
        trainer: L.Trainer = super()._instantiate_trainer(config, [*callbacks, WritePredictions()])
        return trainer


def shared_run_folder(root: str, name: str) -> Path:
    """Make the run's folder in the first process; the processes that it starts use the same."""
    if not is_first_process():
        return Path(os.environ.get(RUN_FOLDER, root))
    folder = new_run_folder(root, name)
    os.environ[RUN_FOLDER] = str(folder)
    return folder


def strategy_for(trainer: Namespace) -> str:
    """Choose the strategy for manual optimisation: players leave each other's parameters unused in their turns."""
    if num_devices(trainer) * trainer.num_nodes == 1:
        return "auto"
    if is_first_process():
        print("strategy: ddp_find_unused_parameters_true, because two optimizers take turns")
    return "ddp_find_unused_parameters_true"


def num_devices(trainer: Namespace) -> int:
    """Return how many devices of one machine the trainer's flags ask for."""
    devices = trainer.devices
    if devices in ("auto", -1, "-1"):
        return max(1, torch.cuda.device_count()) if trainer.accelerator in ("auto", "gpu", "cuda") else 1
    if isinstance(devices, str):
        devices = [part for part in devices.split(",") if part] if "," in devices else int(devices)
    return len(devices) if isinstance(devices, list) else int(devices)


def check_trainer(model: L.LightningModule, trainer: Namespace) -> None:
    """Refuse trainer flags that would be ignored, or that manual optimisation replaces, naming what to use."""
    if trainer.default_root_dir is not None:
        raise UserError("trainer.default_root_dir is the run's own folder; choose it with --runs and --name")
    if isinstance(model, AdversarialModel):
        if trainer.gradient_clip_val is not None:
            raise UserError("trainer.gradient_clip_val does not work with two players; use model.gradient_clip_val")
        if trainer.accumulate_grad_batches != 1:
            raise UserError(
                "trainer.accumulate_grad_batches does not work with two players; use model.accumulate_grad_batches"
            )


def run(verb: str, args: list[str]) -> int:
    """Run one of Lightning's verbs."""
    start(verb, args)
    return 0


def start(verb: str, args: list[str]) -> CLI:
    """Parse, build and run; return the CLI with its model, data and trainer."""
    quiet()

    class Verb(CLI):
        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {verb: LightningCLI.subcommands()[verb]}

        def _run_subcommand(self, subcommand: str) -> None:
            """Wait: `start` runs it, apart from what may fail while building."""

    strict = {"exit_on_error": False}
    try:
        cli = Verb(
            L.LightningModule,
            ImageDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveConfigCallback,
            parser_kwargs={**strict, verb: dict(strict)},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=[verb, *expand_includes(args)],
        )
    except UserError:
        raise
    except CheckpointError as error:
        raise UserError(str(error)) from error
    except (ArgumentError, ValueError, TypeError, OSError, MisconfigurationException) as error:
        raise UserError(explain(error, ())) from error
    execute(cli, verb)
    return cli


def execute(cli: CLI, verb: str) -> None:
    """Run the trainer's method; expected failures become one line."""
    if cli.trainer.is_global_zero:
        print(summary(cli), flush=True)
    if verb in ("validate", "test"):
        cli.config[verb]["verbose"] = False
    try:
        LightningCLI._run_subcommand(cli, verb)
    except (ValueError, OSError, FloatingPointError, MisconfigurationException) as error:
        raise RunError(f"{error} (set CONDGEN_TRACEBACK=1 to see where)") from error
    except SystemExit as error:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt if cli.trainer.interrupted else error from error
    except RuntimeError as error:
        if "Error(s) in loading state_dict" in str(error):
            raise UserError(f"the checkpoint does not fit the model: {str(error).splitlines()[1].strip()}") from error
        raise
    if cli.trainer.is_global_zero:
        print(f"run folder   {cli.run_folder}")


def summary(cli: CLI) -> str:
    """Say what runs on what."""
    count = sum(p.numel() for p in cli.model.parameters() if p.requires_grad)
    device = cli.trainer.strategy.root_device.type
    return (
        f"{type(cli.model).__name__} with {count:,} trained parameters on {type(cli.datamodule).__name__} "
        f"{'x'.join(map(str, cli.datamodule.image_shape))}, {cli.trainer.world_size} x {device}, "
        f"precision {cli.trainer.precision}, seed {os.environ.get('PL_GLOBAL_SEED')}"
    )


def expand_includes(args: list[str]) -> list[str]:
    """Put the files that a config includes before it; find configs by their shipped names too."""
    out: list[str] = []
    rest = iter(args)
    for arg in rest:
        flag, equals, value = arg.partition("=")
        if flag not in ("-c", "--config"):
            out.append(arg)
            continue
        name = value if equals else next(rest, None)
        if name is None:
            raise UserError(f"{flag} needs a file")
        for path in with_includes(find_config(name)):
            out += ["--config", str(path)]
    return out


def with_includes(path: Path, inside: tuple[Path, ...] = ()) -> list[Path]:
    """List a config after all that it includes."""
    if path in inside:
        raise UserError(f"config {path} includes itself")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"config {path} is not YAML: {' '.join(str(error).split())}") from error
    names = content.get("include") or [] if isinstance(content, dict) else []
    if not isinstance(names, list):
        raise UserError(f"config {path}: include must be a list of files, got {names!r}")
    included = [find_config(str(name), beside=path.parent) for name in names]
    return [file for item in included for file in with_includes(item, (*inside, path))] + [path]


def quiet() -> None:
    """Keep Lightning's hints and warnings of its own internals off the screen."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start.*")  # the averaged net
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")  # batches count, not epochs
    warnings.filterwarnings("ignore", message=".*ModelCheckpoint with manual optimization.*")  # steps are whole here
    warnings.filterwarnings("ignore", message=".*The dirpath has changed.*")  # each run has a folder of its own
