"""What every generative model is: a prior, a sampler, and a training loop that is a function of its config."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self, cast

import lightning as L
import torch
from torch import Tensor

from condgen import __version__
from condgen.conditions import check_condition
from condgen.models.plain import class_path, constructor_arguments
from condgen.models.players import ConditionedNet, evaluating
from condgen.pixels import check_range, check_shape, to_uint8
from condgen.seeding import MAX_SEED, noise_per_seed, run_seed, seed_batch
from condgen.types import Batch, Condition, CondSpec, Shape


class GenerativeModel(L.LightningModule, ABC):
    """Base of all families: `prior`, `sample`, progress in images, checked batches, plain checkpoints.

    A family defines `sampling_net`, `averaged`, `prior_shape`, `generate` and `train_on`.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module.
        sample_chunk: Images per net evaluation in `sample`; the last chunk is padded, so that an image never depends
            on what else was asked for.
    """

    init_args: dict[str, Any]
    """The constructor's arguments in plain values, as a checkpoint keeps them."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note the constructor's arguments; without any, a copy or an unpickled model is being made."""
        model = super().__new__(cls)
        if args or kwargs:
            model.__dict__["init_args"] = constructor_arguments(cls, args, kwargs)
        return model

    def __init__(self, image_shape: Shape, cond_spec: CondSpec, sample_chunk: int) -> None:
        super().__init__()
        self.save_hyperparameters(self.init_args)
        if sample_chunk < 1:
            raise ValueError(f"sample_chunk must be at least 1, got {sample_chunk}")
        self.image_shape: Shape = (image_shape[0], image_shape[1], image_shape[2])
        self.cond_spec = cond_spec
        self.sample_chunk = sample_chunk
        self.batches_seen = 0
        self.images_seen = 0
        self.losses: dict[str, Tensor] = {}

    # ------------------------------------------------------------------ sampling

    @property
    @abstractmethod
    def sampling_net(self) -> ConditionedNet:
        """The net that samples: the averaged one where there is one."""

    @property
    @abstractmethod
    def prior_shape(self) -> tuple[int, ...]:
        """Shape of the starting noise of one image."""

    @property
    @abstractmethod
    def averaged(self) -> bool:
        """Whether `sampling_net` is an average over training."""

    @property
    def sampler_card(self) -> dict[str, Any]:
        """What fixes the way images are sampled, in plain values."""
        return {"chunk": self.sample_chunk}

    @abstractmethod
    def generate(self, noise: Tensor, cond: Condition) -> Tensor:
        """Turn one chunk of noise (N, *prior_shape) into images (N, C, H, W) in [-1, 1], by `sampling_net`."""

    def prior(self, seeds: Tensor) -> Tensor:
        """Draw the starting noise (N, *prior_shape) on the CPU, row i from seeds[i] (N,) int64 alone."""
        return noise_per_seed(seeds, self.prior_shape)

    @torch.no_grad()
    def sample(self, cond: Condition, *, seeds: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """Generate images (N, C, H, W) in [-1, 1] on the model's device.

        Image i depends on its condition, its seed (or noise) and the model alone, not on N. Runs in full precision and
        evaluation mode with the averaged weights; each module's mode is restored.

        Args:
            cond: Raw conditions, N rows each; may be empty for an unconditional model.
            seeds: (N,) int64 >= 0; drawn from the global generator where neither seeds nor noise are given.
            noise: (N, *prior_shape) in place of seeds.

        Raises:
            ValueError: If a condition, `seeds` or `noise` is wrong, before any device work.
        """
        count = self._count(cond, seeds, noise)
        if noise is None:
            noise = self.prior(torch.randint(MAX_SEED, (count,)) if seeds is None else seeds.cpu())
        with evaluating(self.sampling_net), torch.autocast(self.device.type, enabled=False):
            chunks = range(0, count, self.sample_chunk)
            return torch.cat([self._generate_padded(noise, cond, start) for start in chunks])

    def _generate_padded(self, noise: Tensor, cond: Condition, start: int) -> Tensor:
        """Generate the chunk that begins at row `start`, repeating its last row up to the fixed size."""
        last = len(noise) - 1
        rows = torch.arange(start, start + self.sample_chunk).clamp_(max=last)
        chunk = {key: value[rows.to(value.device)].to(self.device) for key, value in cond.items()}
        images = self.generate(noise[rows.to(noise.device)].to(self.device), chunk)
        return images[: last + 1 - start]

    def _count(self, cond: Condition, seeds: Tensor | None, noise: Tensor | None) -> int:
        if seeds is not None and noise is not None:
            raise ValueError("give seeds or noise, not both")
        count = check_condition(cond, self.cond_spec, self.sampling_net.encoder.keys)
        given = seeds if seeds is not None else noise
        if given is None and count is None:
            raise ValueError("sample needs a condition or seeds to know how many images to make")
        if given is not None and count is not None and len(given) != count:
            what = "seeds" if seeds is not None else "noise"
            raise ValueError(f"{what} must have one row per condition: {len(given)} rows for {count} conditions")
        if noise is not None and tuple(noise.shape[1:]) != self.prior_shape:
            raise ValueError(f"noise must be (N, {', '.join(map(str, self.prior_shape))}), got {tuple(noise.shape)}")
        return len(given) if given is not None else int(count or 0)

    # ------------------------------------------------------------------ training

    @abstractmethod
    def train_on(self, batch: Batch) -> Tensor | None:
        """Do the work of one training batch; return the loss under automatic optimisation."""

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the global generators from (run seed, rank, batches seen)."""
        seed_batch(self.global_rank, self.batches_seen, self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Check the batch, train on it, and count it."""
        check_shape(batch["image"], self.image_shape)
        if self.device.type == "cpu":  # elsewhere a look at the values would make the host wait
            check_range(batch["image"])
        loss = self.train_on(batch)
        self.batches_seen += 1
        self.images_seen += self.num_images(batch)
        self._log_losses()
        return loss

    def num_images(self, batch: Batch) -> int:
        """Return the number of images in the batches of all processes."""
        return len(batch["image"]) * self.trainer.world_size

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Do nothing: scores of samples come from callbacks; a family with a likelihood overrides this."""

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Do nothing: scores of samples come from callbacks; a family with a likelihood overrides this."""

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return uint8 images (N, C, H, W) for the batch's conditions; each seed is the place in the split."""
        return to_uint8(self.sample(batch["cond"], seeds=batch["index"].cpu())).cpu()

    def _log_losses(self) -> None:
        """Hand the last losses to the loggers every `log_every_n_steps` batches, against images seen."""
        if self.batches_seen % log_interval(self.trainer) or not self.losses:
            return
        values = dict(zip(self.losses, torch.stack([*self.losses.values()]).tolist(), strict=True))
        for name, value in values.items():
            if not value - value == 0.0:
                raise FloatingPointError(
                    f"{name} is {value} at batch {self.batches_seen}; training stops. "
                    "Lower the learning rate, or clip with model.gradient_clip_val"
                )
        self.log_dict(
            {name.removeprefix("train/"): value for name, value in values.items()}, prog_bar=True, logger=False
        )
        self.log_metrics(values)

    def log_metrics(self, values: Mapping[str, float]) -> None:
        """Send scalars to every logger with the number of images seen as the step."""
        for logger in self.loggers:
            logger.log_metrics(dict(values), step=self.images_seen)

    # ------------------------------------------------------------------ checkpoints

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse: a condgen checkpoint is read by `condgen.checkpoints.load_model`, which runs nothing in it."""
        raise TypeError("load a condgen checkpoint with condgen.checkpoints.load_model(path)")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write what the checkpoint is, in plain values."""
        checkpoint["hyper_parameters"] = self.init_args
        checkpoint["condgen"] = {
            "format": 1,
            "version": __version__,
            "class_path": class_path(type(self)),
            "seed": run_seed(),
            "sampler": self.sampler_card,
            "progress": self.progress(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the counters."""
        for name, value in checkpoint["condgen"]["progress"].items():
            setattr(self, name, value)

    def progress(self) -> dict[str, int]:
        """Return the counters that a checkpoint keeps."""
        return {"batches_seen": self.batches_seen, "images_seen": self.images_seen}


def log_interval(trainer: L.Trainer) -> int:
    """Return the number of batches between two entries of the logs."""
    return cast(Any, trainer).log_every_n_steps or 1  # set by a connector, unknown to the type checker
