"""Denoising diffusion probabilistic models (Ho et al. 2020), with classifier-free guidance (Ho & Salimans 2022)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import cast

import torch
from torch import Tensor

from condgen.conditions import Compose, ConditionEncoder, Drop, EncoderFactory, LabelEncoder
from condgen.heartbeat import heart
from condgen.models.denoiser import Denoiser
from condgen.models.roles import require_output
from condgen.models.schedule import Schedule
from condgen.models.single import OptimizerFactory, SingleLossModel
from condgen.nets import NetFactory, UNet
from condgen.objectives import Prediction, PredictX0, Simple, Weighting, guided
from condgen.pixels import sent
from condgen.processes import CosineSchedule, Diffusion, DiffusionSampler, DPMSolver, Level, NoiseSchedule, nested
from condgen.seeding import RowNoise, generator, run_seed
from condgen.types import Batch, Condition, CondSpec, Encoded, Shape

LARGEST_WEIGHT = 100.0
"""Largest weight of the loss at one time, over the mean of all."""


class DDPM(SingleLossModel):
    """A net that estimates the clean image, the noise or v from x_t and t, trained at random t.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module.
        net: Factory of the net; null for a `UNet`.
        encoder: Factory of its condition encoder.
        num_steps: T, the number of steps of the diffusion.
        noise_schedule: Variances of those steps.
        prediction: What the net predicts.
        weighting: Weights of the squared error by noise level.
        condition_dropout: Probability that a training image loses its condition, which guidance needs; of several, that
            it loses all, and then for each that it is lost besides, which guidance by each needs.
        optimizer: Factory of the optimizer; null for fused Adam(1e-3).
        schedule: Factor of the learning rate as a function of images seen.
        ema_half_life: Half-life in images of the averaged net that samples; null to sample with the raw one.
        sampler: Default sampler; any other can be used after training.
        sample_chunk: Images per net evaluation in `sample`; null for what the device is fast at.
    """

    def __init__(
        self,
        image_shape: Shape,
        cond_spec: CondSpec,
        *,
        net: NetFactory | None = None,
        encoder: EncoderFactory = LabelEncoder,
        num_steps: int = 1000,
        noise_schedule: NoiseSchedule = CosineSchedule(),  # noqa: B008 - immutable
        prediction: Prediction = PredictX0(),  # noqa: B008
        weighting: Weighting = Simple(),  # noqa: B008
        condition_dropout: float = 0.1,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        ema_half_life: float | None = 10_000.0,
        sampler: DiffusionSampler = DPMSolver(),  # noqa: B008
        sample_chunk: int | None = None,
    ) -> None:
        super().__init__(image_shape, cond_spec, optimizer=optimizer, schedule=schedule, sample_chunk=sample_chunk)
        if not 0 <= condition_dropout < 1:
            raise ValueError(f"condition_dropout must be in [0, 1), got {condition_dropout}")
        make_net: NetFactory = net or UNet
        condition_encoder = encoder(self.cond_spec)
        self.process = Diffusion(noise_schedule, num_steps)
        check_weights(weighting, prediction, self.process)
        self.prediction = prediction
        self.weighting = weighting
        self.condition_dropout = condition_dropout
        shape, dims = self.image_shape, condition_encoder.dims
        denoising_net = make_net(shape, dims)
        require_output("net", denoising_net, {"x_t": shape, "t": ()}, dims, shape, shape)
        self.denoiser = Denoiser(denoising_net, condition_encoder)
        self.complete(ema_half_life)
        self.sampler = sampler

    # ------------------------------------------------------------------ sampling

    def check_sampler(self, sampler: object) -> None:
        """Refuse what is no sampler of diffusions, too many steps, and guidance that the training does not allow."""
        if not isinstance(sampler, DiffusionSampler):
            raise ValueError(f"sampler must be one of condgen.processes, got {type(sampler).__name__}")
        self.process.levels(sampler.steps)
        self._check_guidance(sampler)

    def _check_guidance(self, sampler: DiffusionSampler) -> None:
        keys, named = self.denoiser.encoder.keys, sampler.guidance if isinstance(sampler.guidance, dict) else {}
        unknown = next((key for key in named if key not in keys), None)
        if unknown is not None:
            raise ValueError(f"guidance names {unknown!r}; the model's conditions are {', '.join(keys) or 'none'}")
        name, scale = next(((name, scale) for name, scale in sampler.named_scales.items() if scale != 1), ("", 1.0))
        if scale != 1 and not any(self.denoiser.encoder.dims):
            raise ValueError(f"{name}={scale:g} needs a condition; this model has none and takes only 1")
        if scale != 1 and self.condition_dropout == 0:
            raise ValueError(
                f"{name}={scale:g} needs a model trained with condition_dropout > 0; this one takes only 1"
            )

    @property
    def trained_net(self) -> Denoiser:
        """The denoiser."""
        return self.denoiser

    @property
    def prior_shape(self) -> tuple[int, ...]:
        """Noise has the image's shape."""
        return self.image_shape

    def generate(self, noise: Tensor, cond: Condition) -> Tensor:
        """Follow the sampler from noise to images; what it draws on the way depends on the starting noise."""
        source = RowNoise(noise)
        images: Tensor = self.sampler(
            self.denoise_under(cond, len(noise)), noise, self.process, lambda: source(*noise.shape[1:])
        )
        return images.clamp(-1.0, 1.0)

    def denoise_under(self, cond: Condition, count: int) -> Callable[[Tensor, Level], Tensor]:
        """Return the guided estimate of x_0 under conditions of `count` images, encoded once for all steps."""
        denoiser, sampler = cast(Denoiser, self.sampling_net), self.sampler
        keys, lost = denoiser.encoder.keys, torch.ones(count, dtype=torch.bool, device=self.device)

        @cache
        def encoded(kept: tuple[str, ...]) -> Encoded:
            drop = {key: lost for key in keys if key not in kept}
            return cast(Encoded, denoiser.encoder(cond, drop or None))

        def denoise(x_t: Tensor, level: Level) -> Tensor:
            heart.beat()
            t = torch.full((count,), self.time(level.t), device=x_t.device)
            terms = nested(sampler.scales_at(level.t / self.process.num_steps, keys))
            estimates = denoiser.estimates(x_t, t, [encoded(term.kept) for term in terms])
            out = guided(estimates, [term.scale for term in terms[1:]])
            x_0 = self.prediction.x_0(out, x_t, level.alpha, level.sigma)
            return x_0.clamp(-1.0, 1.0) if sampler.clip else x_0

        return denoise

    def time(self, t: int) -> float:
        """Scale a step in [0, num_steps) to the net's time in [0, 1000)."""
        return t * 1000 / self.process.num_steps

    # ------------------------------------------------------------------ training

    def train_on(self, batch: Batch) -> Tensor:
        """Return the weighted squared error at random levels of noise."""
        x_0, cond = batch["image"], batch["cond"]
        t, drop = self.draw_times(len(x_0)), self.draw_drops(len(x_0))
        noise = torch.randn(x_0.shape, generator=self._source("noise", self.device), device=self.device)
        x_t = self.process.q_sample(x_0, t, noise)
        out = self.denoiser(x_t, self.time(1) * sent(t, self.device), cond, drop)
        target = self.prediction.target(x_0, noise, *self.process.scales(t, x_0))
        error = (out.float() - target).square().flatten(1).mean(dim=1)
        weights = sent(self.weighting(self.prediction, self.process.snr(t)).to(error.dtype), self.device)
        loss: Tensor = (weights * error).mean()
        self.losses["train/loss"] = loss.detach()
        return loss

    def draw_times(self, count: int) -> Tensor:
        """Draw t (N,) int64 on the CPU, spread evenly over [0, T) from one random offset (Kingma et al. 2021)."""
        offset = torch.rand((), generator=self._source("time"), dtype=torch.float64)
        place = (offset + torch.arange(count, dtype=torch.float64) / count) % 1.0
        t: Tensor = (place * self.process.num_steps).long().clamp_(max=self.process.num_steps - 1)
        return t

    def draw_drops(self, count: int) -> Drop:
        """Draw which images lose their condition; of several conditions, all together, and each by itself besides."""
        source, rate, parts = self._source("drop"), self.condition_dropout, separate(self.denoiser.encoder)
        together = torch.rand(count, generator=source) < rate
        if len(parts) < 2:
            return sent(together, self.device)
        dropped = sent((torch.rand(len(parts), count, generator=source) < rate) | together, self.device)
        return {key: row for keys, row in zip(parts, dropped, strict=True) for key in keys}

    def _source(self, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
        return generator(run_seed(), self.global_rank, self.batches_seen, purpose, device=device)


def separate(encoder: ConditionEncoder) -> list[tuple[str, ...]]:
    """Return the keys of each encoder that is dropped by itself."""
    parts = cast(Iterable[ConditionEncoder], encoder.encoders) if isinstance(encoder, Compose) else [encoder]
    return [part.keys for part in parts if part.keys]


def check_weights(weighting: Weighting, prediction: Prediction, process: Diffusion) -> None:
    """Refuse a loss of which single times would be nearly all, as the error in x_0 of a net that predicts noise."""
    weights = weighting(prediction, process.snr(torch.arange(process.num_steps)))
    largest = float(weights.max() / weights.mean().clamp(min=1e-12))
    if not largest <= LARGEST_WEIGHT:
        raise ValueError(
            f"{type(weighting).__name__} with {type(prediction).__name__} gives single times {largest:.3g} times the "
            "mean weight; use Simple or MinSNR, or predict x_0 or v"
        )
