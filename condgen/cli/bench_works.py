"""What `condgen bench` times: a config's training, sampling, data and evaluation, by the code that does them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from math import lcm
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch.cli import LightningCLI
from rich.console import Console
from torch import Tensor

from condgen.allocation import memory_kept
from condgen.bench import Foreign, Loop
from condgen.callbacks import EvaluateSamples, RunProgress
from condgen.cli.errors import UserError
from condgen.cli.lightning import CLI
from condgen.cli.quiet import quiet
from condgen.cli.restricted import restricted
from condgen.cli.verbs import build
from condgen.metrics import DistributionMetric, Evaluator
from condgen.metrics.base import Features
from condgen.metrics.evaluator import CHUNK
from condgen.models import AdversarialModel, GenerativeModel
from condgen.models.asking import ask, draw
from condgen.pixels import conditions_to_model
from condgen.types import Condition

NEVER = str(10**12)
STEADY = [
    "--trainer.max_steps=-1",
    "--trainer.max_epochs=-1",
    "--trainer.devices=1",
    "--trainer.limit_val_batches=0",
    f"--checkpoint.every_n_batches={NEVER}",
    f"--grid.every_n_images={NEVER}",
]
"""Training without an end, and without what is done now and then: validation, checkpoints and grids."""


class Watched:
    """A loader whose batches are counted, and waited for, by the work that reads them."""

    def __init__(self, loader: Any, work: Foreign) -> None:
        self._loader, self._work = loader, work

    def __getattr__(self, name: str) -> Any:
        """Give whatever the loader has."""
        return getattr(self._loader, name)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        """Yield them."""
        return self._work.each(cast(Iterable[Any], self._loader))


def steady(args: Sequence[str], runs: Path, trusted: Sequence[str] = (), *more: str) -> CLI:
    """Build a training run that has no end.

    Args:
        args: What `condgen fit` takes.
        runs: Folder of its run.
        trusted: Packages that the config may name.
        more: Further arguments.
    """
    quiet()
    with restricted(trusted):
        return build("fit", [*args, *more, *STEADY, f"--runs={runs}"], trusted)


def training(cli: CLI) -> Foreign:
    """Return `condgen fit` itself, with its callbacks, its progress bar and its logger."""
    data, trainer = cli.datamodule, cast(Any, cli.trainer)
    bar = RunProgress(console=Console(file=StringIO(), force_terminal=True, width=120))
    trainer.callbacks = [bar if isinstance(callback, RunProgress) else callback for callback in trainer.callbacks]
    loader = data.train_dataloader

    def fit(work: Foreign) -> None:
        data.train_dataloader = lambda: Watched(loader(), work)
        LightningCLI._run_subcommand(cli, "fit")

    return Foreign(fit, lambda batch: len(batch["pixels"]), device_of(cli), around=memory_kept)


def period(cli: CLI) -> int:
    """Return after how many batches a config's training does the same again."""
    model = cli.model
    if not isinstance(model, AdversarialModel):
        return int(cli.trainer.accumulate_grad_batches)
    every = 1 if model.penalty is None else model.penalty.every
    return lcm(model.discriminator_steps, every) * model.accumulate_grad_batches


def sampling(cli: CLI, half: bool = False) -> tuple[GenerativeModel, Loop]:
    """Return the model, and the sampling of one chunk as scores have it: conditions in, uint8 images out."""
    model, data = cli.model, cli.datamodule
    if not isinstance(model, GenerativeModel):
        raise UserError(f"bench sample: {type(model).__name__} makes no images")
    model.to(device_of(cli))
    data.prepare_data()

    def step() -> int:
        model.half_samples, seeds = half, torch.arange(model.sample_chunk)
        return len(draw(model, ask(model, seeds, lambda: data.images("validation")).cond, seeds))

    return model, Loop(step, device_of(cli), around=memory_kept)


def chunk_of(cli: CLI) -> tuple[Condition, Tensor]:
    """Return conditions, as the model takes them, and seeds of one chunk."""
    seeds = torch.arange(cli.model.sample_chunk)
    asked = ask(cli.model, seeds, lambda: cli.datamodule.images("validation")).cond
    return conditions_to_model({key: asked[key] for key in cli.model.condition_keys}), seeds


def loading(cli: CLI) -> Loop:
    """Return the training batches as a model gets them: read, moved to the device, in [-1, 1], augmented."""
    data, trainer, device = cli.datamodule, cli.trainer, device_of(cli)
    data.prepare_data()
    data.trainer, trainer.training = trainer, True

    def batches() -> Iterator[Any]:
        loader = data.train_dataloader()
        while True:
            yield from loader

    endless = batches()
    return Loop(
        lambda: len(data.on_after_batch_transfer(move_data_to_device(next(endless), device), 0)["image"]), device
    )


class Scoring:
    """Features of a config's real images, and its scores on them.

    Args:
        cli: The run.
        n: Images on each side of a score.
    """

    def __init__(self, cli: CLI, n: int) -> None:
        callbacks = cast(Any, cli.trainer).callbacks
        found = [c.evaluator for c in callbacks if isinstance(c, EvaluateSamples) and c.evaluator is not None]
        if not found:
            raise UserError("bench evaluate: the config has no evaluation.extractor")
        self.evaluator: Evaluator = found[0]
        self.device = device_of(cli)
        self.evaluator.extractor.to(self.device)
        cli.datamodule.prepare_data()
        images = cli.datamodule.images("train")
        rows = images.take(torch.arange(min(2 * n, len(images))))
        self.pixels, self.label = rows.pixels.to(self.device), rows.cond.get("label")
        self.half = len(self.pixels) // 2
        self.halves = self._side(slice(0, self.half)), self._side(slice(self.half, 2 * self.half))

    def features(self) -> Loop:
        """Return the extraction of a chunk's features."""
        pixels = self.pixels[:CHUNK]
        return Loop(lambda: len(self.evaluator.extract(pixels, None).features), self.device)

    @property
    def metrics(self) -> dict[str, DistributionMetric]:
        """The metrics that can be taken of these images, by name."""
        usable = [m for m in self.evaluator.metrics if self.label is not None or not m.needs_label_of]
        return {type(m).__name__: m for m in usable}

    def score(self, name: str) -> Loop:
        """Return the measuring of a metric, half of the images against the other."""
        metric, (real, fake) = self.metrics[name].to(self.device), self.halves

        def step() -> int:
            metric.reset()
            metric.update(*real, real=True)
            metric.update(*fake, real=False)
            metric.compute()
            return len(fake.features)

        return Loop(step, self.device)

    def _side(self, rows: slice) -> Features:
        label: Tensor | None = None if self.label is None else self.label[rows].to(self.device)
        return self.evaluator.extract(self.pixels[rows], label)


def device_of(cli: CLI) -> torch.device:
    """Return where a run computes."""
    return cli.trainer.strategy.root_device
