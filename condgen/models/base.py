"""What every generative model is: a prior, and a sampler whose images depend on nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from condgen.checks import check_condition, check_noise, check_seeds
from condgen.models.players import ConditionedNet, evaluating
from condgen.models.recorded import RecordedModule
from condgen.pixels import to_uint8
from condgen.seeding import MAX_SEED, noise_per_seed
from condgen.types import Batch, Condition, CondSpec, Shape


class GenerativeModel(RecordedModule, ABC):
    """Base of all families: `prior` and `sample`.

    A family defines `sampling_net`, `averaged`, `prior_shape`, `generate` and `train_on`.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module.
        sample_chunk: Images per net evaluation in `sample`; the last chunk is padded, so that an image never depends
            on what else was asked for.
    """

    def __init__(self, image_shape: Shape, cond_spec: CondSpec, sample_chunk: int) -> None:
        super().__init__(image_shape, cond_spec)
        if sample_chunk < 1:
            raise ValueError(f"sample_chunk must be at least 1, got {sample_chunk}")
        self.sample_chunk = sample_chunk

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
        self._share_buffers()

    def on_test_start(self) -> None:
        """Let all processes sample with the first one's running statistics."""
        self._share_buffers()

    def _share_buffers(self) -> None:
        """Copy the sampling net's buffers from rank 0, as a checkpoint holds them; gradients never see them."""
        if self.trainer.world_size > 1:
            for buffer in self.sampling_net.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the sampler beside what every checkpoint holds."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["condgen"]["sampler"] = self.sampler_card
