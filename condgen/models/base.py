"""What every generative model is: a prior, and a sampler whose images depend on nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from condgen.checks import check_condition, check_noise, check_seeds
from condgen.conditions import ConditionEncoder
from condgen.heartbeat import heart
from condgen.models.plain import to_plain
from condgen.models.players import evaluating
from condgen.models.protocols import BoundsLikelihood, Reconstructs
from condgen.models.recorded import RecordedModule
from condgen.nets import EMA
from condgen.pixels import conditions_to_model, sent, to_device, to_uint8
from condgen.seeding import MAX_SEED, noise_per_seed
from condgen.types import Batch, Condition, CondSpec, Shape

SAMPLING = ("sampler", "sample_chunk")
"""Constructor arguments that choose how images are sampled: not part of what was trained, and free to change later."""


class GenerativeModel(RecordedModule, ABC):
    """Base of all families: `prior` and `sample`, with averaged weights where there are some.

    A family defines `trained_net`, `prior_shape`, `generate` and `train_on`, and calls `complete` when its nets exist.

    Attributes:
        loaded_from: The exported file that the weights are from, if they are from one.
        raw_lost: Whether the trained weights are the averaged ones too, since no others were exported.
        half_samples: Whether `sample` computes products and convolutions in bfloat16; it does not unless set.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module.
        sample_chunk: Images per net evaluation in `sample`; the last chunk is padded, so that an image never depends
            on what else was asked for.
    """

    ema: EMA | None
    loaded_from: str | None = None
    raw_lost = False
    half_samples = False
    _raw = False
    _sampler: Any = None

    def __init__(self, image_shape: Shape, cond_spec: CondSpec, sample_chunk: int | None) -> None:
        super().__init__(image_shape, cond_spec)
        self.sample_chunk = sample_chunk
        self.images_at_ema_update = 0

    def complete(self, ema_half_life: float | None) -> None:
        """Lay convolutions out channels-last, which is faster on CPUs and GPUs alike, and begin the average."""
        self.to(memory_format=torch.channels_last)
        self.ema = EMA(self.trained_net, ema_half_life) if ema_half_life is not None else None

    # ------------------------------------------------------------------ sampling

    @property
    def sampler(self) -> Any:
        """How images are sampled, in a frozen dataclass; null where the family has but one way. May be set anew."""
        return self._sampler

    @sampler.setter
    def sampler(self, sampler: Any) -> None:
        self.check_sampler(sampler)
        self._sampler = sampler

    @property
    def sample_chunk(self) -> int:
        """How many images an evaluation of the net makes; a GPU needs more of them than a CPU to be busy."""
        return self._sample_chunk or (64 if self.device.type == "cpu" else 256)

    @sample_chunk.setter
    def sample_chunk(self, count: int | None) -> None:
        if count is not None and count < 1:
            raise ValueError(f"sample_chunk must be at least 1, or null, got {count}")
        self._sample_chunk = count

    @property
    def raw(self) -> bool:
        """Whether to sample with the raw weights though there are averaged ones."""
        return self._raw

    @raw.setter
    def raw(self, raw: bool) -> None:
        if raw and self.raw_lost:
            raise ValueError("raw weights are not there: an exported model has the averaged ones alone")
        self._raw = raw

    def check_sampler(self, sampler: object) -> None:
        """Refuse a sampler that this model cannot follow; a family with a choice overrides this.

        Raises:
            ValueError: Saying which it can.
        """
        raise ValueError(f"{type(self).__name__} has no choice of samplers, got {type(sampler).__name__}")

    @property
    @abstractmethod
    def trained_net(self) -> nn.Module:
        """All that sampling needs, as it is trained."""

    @property
    @abstractmethod
    def prior_shape(self) -> tuple[int, ...]:
        """Shape of the starting noise of one image."""

    @property
    def averaged(self) -> bool:
        """Whether `sampling_net` is an average over training."""
        return self.ema is not None and not self.raw

    @property
    def sampling_net(self) -> nn.Module:
        """The net that samples: the averaged one where there is one, unless `raw` is set."""
        return self.trained_net if self.ema is None or self.raw else self.ema.net

    @property
    def condition_keys(self) -> tuple[str, ...]:
        """The conditions without which nothing can be sampled."""
        return cast(ConditionEncoder, self.sampling_net.encoder).keys

    @property
    def sampler_card(self) -> dict[str, Any]:
        """What fixes the way images are sampled, in plain values."""
        half = {"half": True} if self.half_samples else {}
        return {"chunk": self.sample_chunk, **half, **(to_plain(self.sampler, "sampler") or {})}

    @abstractmethod
    def generate(self, noise: Tensor, cond: Condition) -> Tensor:
        """Turn one chunk of noise (N, *prior_shape) into images (N, C, H, W) in [-1, 1], by `sampling_net`."""

    def prior(self, seeds: Tensor) -> Tensor:
        """Draw the starting noise (N, *prior_shape) on the CPU, row i from seeds[i] (N,) int64 alone."""
        return noise_per_seed(seeds, self.prior_shape)

    @torch.no_grad()
    def sample(self, cond: Condition, *, seeds: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """Generate images (N, C, H, W) in [-1, 1] on the model's device.

        Image i depends on its condition, its seed (or noise) and the model alone, not on N. Runs in float32 (on NVIDIA
        GPUs convolutions in TF32, as torch has them), unless `half_samples` is set, and in evaluation mode with the
        averaged weights; each module's mode is restored.

        Args:
            cond: Raw conditions, N rows each, pictures in [-1, 1] or uint8; may be empty for an unconditional model.
            seeds: (N,) int64 >= 0; drawn from the global generator where neither seeds nor noise are given.
            noise: (N, *prior_shape) in place of seeds.

        Raises:
            ValueError: If a condition, `seeds` or `noise` is wrong, before any device work.
        """
        count = self._count(cond, seeds, noise)
        if noise is None:
            noise = self.prior(torch.randint(MAX_SEED, (count,)) if seeds is None else seeds.cpu())
        with evaluating(self.sampling_net), torch.autocast(self.device.type, torch.bfloat16, enabled=self.half_samples):
            chunks = range(0, count, self.sample_chunk)
            return torch.cat([self._generate_padded(noise, cond, start) for start in chunks])

    @contextmanager
    def drafting(self) -> Iterator[None]:
        """Let `sample` use the raw weights and the sampler's draft: a cheap look at the model as it is trained."""
        raw, sampler = self._raw, self._sampler
        self._raw, self._sampler = True, None if sampler is None else sampler.draft()
        try:
            yield
        finally:
            self._raw, self._sampler = raw, sampler

    def _generate_padded(self, noise: Tensor, cond: Condition, start: int) -> Tensor:
        """Generate the chunk that begins at row `start`, repeating its last row up to the fixed size."""
        heart.beat()
        last = len(noise) - 1
        rows = torch.arange(start, start + self.sample_chunk).clamp_(max=last)
        chunk = to_device({key: value[rows.to(value.device)] for key, value in cond.items()}, self.device)
        images = self.generate(sent(noise[rows.to(noise.device)], self.device), conditions_to_model(chunk))
        return images[: last + 1 - start].float()

    def _count(self, cond: Condition, seeds: Tensor | None, noise: Tensor | None) -> int:
        if seeds is not None and noise is not None:
            raise ValueError("give seeds or noise, not both")
        count = check_condition(cond, self.cond_spec, self.condition_keys, self.image_shape)
        if seeds is not None:
            check_seeds(seeds)
        if noise is not None:
            check_noise(noise, self.prior_shape)
        given = seeds if seeds is not None else noise
        if given is None and count is None:
            raise ValueError("sample needs a condition or seeds to know how many images to make")
        if given is not None and count is not None and len(given) != count:
            what = "seeds" if seeds is not None else "noise"
            raise ValueError(f"{what} must have one row per condition: {len(given)} rows for {count} conditions")
        return len(given) if given is not None else int(count or 0)

    # ------------------------------------------------------------------ evaluation

    @property
    def evaluation_reads_images(self) -> bool:
        """Whether validation and test are given real images; if not, they get one batch of none, and none is read."""
        steps = ("validation_step", "test_step")
        has_own = any(getattr(type(self), step) is not getattr(GenerativeModel, step) for step in steps)
        return has_own or isinstance(self, BoundsLikelihood | Reconstructs)

    @abstractmethod
    def train_on(self, batch: Batch) -> Tensor | None:
        """Do the work of one training batch; return the loss under automatic optimisation."""

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Do nothing: scores of samples come from callbacks; a family with a likelihood overrides this."""

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Do nothing: scores of samples come from callbacks; a family with a likelihood overrides this."""

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return uint8 images (N, C, H, W) for the batch's conditions; each seed is the place in the split."""
        return to_uint8(self.sample(batch["cond"], seeds=batch["index"].cpu())).cpu()

    def on_validation_start(self) -> None:
        """Let all processes sample with the first one's running statistics."""
        super().on_validation_start()
        self._share_buffers()

    def on_test_start(self) -> None:
        """Let all processes sample with the first one's running statistics."""
        self._share_buffers()

    def _share_buffers(self) -> None:
        """Copy the sampling net's buffers from rank 0, as a checkpoint holds them; gradients never see them."""
        if self.trainer.world_size > 1:
            for buffer in self.sampling_net.buffers():
                torch.distributed.broadcast(buffer, src=0)

    # ------------------------------------------------------------------ training

    def update_ema(self, images_seen: int) -> None:
        """Move the average towards the trained weights after a step of theirs, `images_seen` after the start."""
        if self.ema is not None:
            self.ema.update(self.trained_net, images_seen - self.images_at_ema_update, images_seen)
            self.raw_lost = False
        self.images_at_ema_update = images_seen

    def progress(self) -> dict[str, int]:
        """Return the counters that a checkpoint keeps."""
        return {**super().progress(), "images_at_ema_update": self.images_at_ema_update}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the sampler beside what every checkpoint holds, apart from the model's own arguments."""
        super().on_save_checkpoint(checkpoint)
        arguments = checkpoint["hyper_parameters"]
        checkpoint["hyper_parameters"] = {key: value for key, value in arguments.items() if key not in SAMPLING}
        checkpoint["condgen"]["sampler"] = self.sampler_card
