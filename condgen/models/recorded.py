"""What every LightningModule of condgen keeps of itself: its arguments, its progress, its losses."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from math import isfinite
from typing import Any, Self, cast

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer

from condgen import __version__
from condgen.checks import check_condition, check_range, check_shape
from condgen.models.guard import Guard
from condgen.models.plain import class_path, constructor_arguments
from condgen.models.stepping import ask_runtime_for_gpus, refuse_unfit_state, skip_empty_hooks, window_ends
from condgen.seeding import run_seed, seed_batch
from condgen.types import Batch, CondSpec, Shape

FORMAT = 1


class RecordedModule(L.LightningModule):
    """A LightningModule whose training is a function of its config, and whose checkpoints say what they are.

    A subclass defines `train_on`, and fills `losses` in it with what the loggers shall see.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module.
    """

    accumulate_grad_batches: int = 0
    """Batches per step under manual optimisation; 0 for as many as the trainer says."""
    init_args: dict[str, Any]
    """The constructor's arguments in plain values, as a checkpoint keeps them."""
    settings_from_config: bool = False
    """Whether the optimizers of a training that begins from a checkpoint have the settings that they were made with,
    such as the learning rate, in place of those in the checkpoint."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note the constructor's arguments; without any, a copy or an unpickled model is being made."""
        module = super().__new__(cls)
        if args or kwargs:
            module.__dict__["init_args"] = constructor_arguments(cls, args, kwargs)
        return module

    def __init__(self, image_shape: Shape, cond_spec: CondSpec) -> None:
        super().__init__()
        self.save_hyperparameters(self.init_args)
        self.image_shape: Shape = (image_shape[0], image_shape[1], image_shape[2])
        self.cond_spec = cond_spec
        self.batches_seen = 0
        self.images_seen = 0
        self.losses: dict[str, Tensor] = {}
        self._losses_before: dict[str, float] = {}
        self._settings: list[list[dict[str, Any]]] = []
        self.guard = Guard()
        self.gradient_norm: Tensor | None = None
        self.gradient_norms: dict[str, Tensor] = {}
        self._players: dict[Optimizer, str] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; the name of the hook that runs, which Lightning sets some 40 times a step, without a look.

        `nn.Module` looks at each value for parameters, buffers and modules.
        """
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    # ------------------------------------------------------------------ training

    def setup(self, stage: str) -> None:
        """Keep steps free of searches for a GPU that is not there."""
        ask_runtime_for_gpus()

    def train_on(self, batch: Batch) -> Tensor | None:
        """Do the work of one training batch; return the loss under automatic optimisation."""
        raise NotImplementedError

    def on_fit_start(self) -> None:
        """Set the guard up for the device, and keep steps free of empty hooks."""
        skip_empty_hooks(self.trainer)
        self.guard.start(self.device)
        self._players.clear()
        self._settings = [settings_of(optimizer) for optimizer in self.trainer.optimizers]

    def on_train_start(self) -> None:
        """Take up the losses of a checkpoint, and give the optimizers the config's settings if that is wanted."""
        self.losses |= {name: torch.tensor(value, device=self.device) for name, value in self._losses_before.items()}
        if self.settings_from_config and not self.trainer.lr_scheduler_configs:
            for optimizer, settings in zip(self.trainer.optimizers, self._settings, strict=True):
                for group, given in zip(optimizer.param_groups, settings, strict=True):
                    group.pop("initial_lr", None)
                    group.update(given)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the global generators from (run seed, rank, batches seen), and forget the last batch's gradients."""
        self.gradient_norms.clear()
        seed_batch(self.global_rank, self.batches_seen, self.device)

    def on_validation_start(self) -> None:
        """Seed the global generators as after a batch of that number, wherever the run was taken up."""
        seed_batch(self.global_rank, self.batches_seen, self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Check the batch, train on it, and count it."""
        self.guard.batch = self.batches_seen + 1
        check_shape(batch["image"], self.image_shape)
        if self.device.type == "cpu":  # elsewhere a look at the values would make the host wait
            check_range(batch["image"])
            check_condition(batch["cond"], self.cond_spec, (), self.image_shape)
        loss = self.train_on(batch)
        self.batches_seen += 1
        self.images_seen += self.num_images(batch)
        if self.is_logged():
            self._log_losses()
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Keep a step that is not finite from the weights; a subclass calls this before it clips."""
        if optimizer not in self._players:
            refuse_unfit_state(optimizer)
            first = optimizer.param_groups[0]["params"][0]
            name = next((name for name, parameter in self.named_parameters() if parameter is first), "the weights")
            self._players[optimizer] = name.partition(".")[0]
        scaled = cast(Any, self.trainer).scaler is not None
        player = self._players[optimizer]
        self.gradient_norm = self.guard.watch(optimizer, player, self.losses, scaled=scaled)
        self.gradient_norms[f"train/{player}_gradient_norm"] = self._unscaled(self.gradient_norm, optimizer)

    def _unscaled(self, norm: Tensor, optimizer: Optimizer) -> Tensor:
        """Take a loss scaler's factor out of a gradient's norm where a fused optimizer has yet to do so itself."""
        scaler = cast(Any, self.trainer).scaler
        if scaler is None or not getattr(optimizer, "_step_supports_amp_scaling", False):
            return norm
        factor: Tensor = scaler.scale(torch.ones_like(norm))
        return norm / factor

    @property
    def at_window_end(self) -> bool:
        """Whether the last batch ended its accumulation window, so that no gradient waits for the next one."""
        size = self.accumulate_grad_batches or cast(Any, self.trainer).accumulate_grad_batches
        return window_ends(self.trainer, self.batches_seen - 1, size)

    def is_logged(self) -> bool:
        """Tell whether the last batch was one that the loggers see: the first, and each `log_every_n_steps`-th."""
        interval = cast(Any, self.trainer).log_every_n_steps or 1
        return self.batches_seen == 1 or self.batches_seen % interval == 0

    def on_train_end(self) -> None:
        """Log the last losses if that is yet to be done; stop if they or the weights are not finite."""
        if not self.is_logged():
            self._log_losses()
        self.check_finite()

    def num_images(self, batch: Batch) -> int:
        """Return the number of images in the batches of all processes."""
        return len(batch["image"]) * self.trainer.world_size

    def _log_losses(self) -> None:
        """Hand the last losses to the loggers, against images seen; the guard stops at one that is not finite."""
        if not self.losses:
            return
        values = dict(zip(self.losses, torch.stack([*self.losses.values()]).tolist(), strict=True))
        if skipped := self.guard.take_skipped():
            values["train/skipped_steps"] = skipped
        if all(map(isfinite, values.values())):
            self.log_metrics(values)

    def log_metrics(self, values: Mapping[str, float]) -> None:
        """Send scalars to every logger with the number of images seen as the step."""
        for logger in self.loggers:
            logger.log_metrics(dict(values), step=self.images_seen)

    def check_finite(self) -> None:
        """Stop if a loss, a gradient, a parameter or a buffer was, or is, not finite.

        Raises:
            FloatingPointError: Naming the first.
        """
        self.guard.look()
        for name, value in chain(self.named_parameters(), self.named_buffers()):
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise FloatingPointError(f"{name} is not finite after batch {self.batches_seen}; nothing was saved")

    # ------------------------------------------------------------------ checkpoints

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse: a condgen checkpoint is read by `condgen.checkpoints.load_model`, which runs nothing in it."""
        raise TypeError("load a condgen checkpoint with condgen.checkpoints.load_model(path)")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write what the checkpoint is, in plain values; refuse to save weights that are not finite."""
        self.check_finite()
        checkpoint["hyper_parameters"] = self.init_args
        checkpoint["condgen"] = {
            "format": FORMAT,
            "version": __version__,
            "class_path": class_path(type(self)),
            "seed": run_seed(),
            "progress": self.progress(),
            "losses": {name: float(value) for name, value in self.losses.items()},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the counters and the last losses, some of which the next batch may not have anew.

        Raises:
            ValueError: If the checkpoint is of another kind of model.
        """
        card = checkpoint.get("condgen", {})
        saved, own = card.get("progress", {}), self.progress()
        if card.get("class_path") != class_path(type(self)):
            raise ValueError(f"the checkpoint is of {card.get('class_path')}, not of {class_path(type(self))}")
        if saved.keys() != own.keys():
            raise ValueError(f"the checkpoint counts {', '.join(saved)}, and the model {', '.join(own)}")
        for name in own:
            setattr(self, name, int(saved[name]))
        self._losses_before = {str(name): float(value) for name, value in card.get("losses", {}).items()}

    def progress(self) -> dict[str, int]:
        """Return the counters that a checkpoint keeps."""
        return {"batches_seen": self.batches_seen, "images_seen": self.images_seen}


def settings_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return what each group of an optimizer's parameters is trained by."""
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
