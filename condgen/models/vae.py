"""The variational autoencoder (Kingma & Welling 2014), conditional (Sohn et al. 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor

from condgen.checks import check_condition, check_range, check_shape
from condgen.conditions import EncoderFactory, LabelEncoder
from condgen.models.decoding import DecoderSampler, VAENets
from condgen.models.players import ConditionedNet, evaluating
from condgen.models.roles import require_output, require_width
from condgen.models.schedule import Schedule
from condgen.models.single import OptimizerFactory, SingleLossModel
from condgen.nets import ConvDecoder, ConvEncoder, NetFactory
from condgen.objectives import (
    Bernoulli,
    Likelihood,
    WeightedELBO,
    importance_weighted_bound,
    kl_standard_normal,
    log_normal,
    reparameterise,
)
from condgen.pixels import conditions_to_model, to_device
from condgen.seeding import derive, generator, noise_per_seed, run_seed
from condgen.types import Batch, Condition, CondSpec, Shape

DRAWS_AT_ONCE = 16
"""Latent variables per image between two draws in `bounds`; part of what fixes the draws."""
DECODED_AT_ONCE = 512
"""Images per net evaluation in `bounds`."""


class VAE(SingleLossModel):
    """A decoder p(x|z, c) and an inference net q(z|x, c), trained together on the ELBO; the prior is N(0, 1).

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module.
        inference: Factory of the net from images to q(z|x, c); null for ConvEncoder.
        decoder: Factory of the net from z to the likelihood's parameters; null for ConvDecoder.
        encoder: Factory of the condition encoders; each of the two nets owns one.
        likelihood: Density of an image given the decoder's output.
        beta: Weight of the KL term (Higgins et al. 2017); 1 for the ELBO.
        kl_warmup: Images over which that weight grows from 0 to `beta`.
        free_bits: Nats of each latent dimension that cost nothing (Kingma et al. 2016).
        optimizer: Factory of the optimizer; null for fused Adam(1e-3).
        schedule: Factor of the learning rate as a function of images seen.
        ema_half_life: Half-life in images of the averaged nets that sample and encode; null for the raw ones.
        sampler: What becomes of the decoder's output in `sample`.
        sample_chunk: Images per net evaluation in `sample`; null for what the device is fast at.
    """

    def __init__(
        self,
        image_shape: Shape,
        cond_spec: CondSpec,
        *,
        inference: NetFactory | None = None,
        decoder: NetFactory | None = None,
        encoder: EncoderFactory = LabelEncoder,
        likelihood: Likelihood = Bernoulli(),  # noqa: B008 - immutable
        beta: float = 1.0,
        kl_warmup: int = 0,
        free_bits: float = 0.0,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        ema_half_life: float | None = 10_000.0,
        sampler: DecoderSampler = DecoderSampler(),  # noqa: B008 - immutable
        sample_chunk: int | None = None,
    ) -> None:
        super().__init__(image_shape, cond_spec, optimizer=optimizer, schedule=schedule, sample_chunk=sample_chunk)
        self.likelihood = likelihood
        self.objective = WeightedELBO(beta, kl_warmup, free_bits)
        self.sampler = sampler
        channels, height, width = shape = self.image_shape
        params = (channels * likelihood.parameters, height, width)
        encoder_i, encoder_d = encoder(cond_spec), encoder(cond_spec)
        make_inference: NetFactory = inference or ConvEncoder
        make_decoder: NetFactory = decoder or ConvDecoder
        net_i, net_d = make_inference(shape, encoder_i.dims), make_decoder(params, encoder_d.dims)
        encoded, decoded = (
            require_width("inference", net_i, "latent_dim"),
            require_width("decoder", net_d, "latent_dim"),
        )
        require_output("inference", net_i, {"image": shape}, encoder_i.dims, shape, (encoded,), (encoded,))
        require_output("decoder", net_d, {"z": (decoded,)}, encoder_d.dims, shape, params)
        self.nets = VAENets(ConditionedNet(net_i, encoder_i), ConditionedNet(net_d, encoder_d))
        self.complete(ema_half_life)

    # ------------------------------------------------------------------ sampling

    def check_sampler(self, sampler: object) -> None:
        """Take a `DecoderSampler` alone."""
        if not isinstance(sampler, DecoderSampler):
            raise ValueError(f"sampler must be a DecoderSampler, got {type(sampler).__name__}")

    @property
    def trained_net(self) -> VAENets:
        """Both nets, so that the average covers both."""
        return self.nets

    @property
    def sampling_net(self) -> VAENets:
        """The nets that sample and encode."""
        return cast(VAENets, super().sampling_net)

    @property
    def condition_keys(self) -> tuple[str, ...]:
        """The conditions that the decoder reads."""
        return self.nets.decoder.encoder.keys

    @property
    def prior_shape(self) -> tuple[int, ...]:
        """Shape of z."""
        return (self.nets.latent_dim,)

    def generate(self, noise: Tensor, cond: Condition) -> Tensor:
        """Decode z (N, latent_dim)."""
        images: Tensor = self.sampler(self.likelihood, self.sampling_net.decoder(noise, cond).float(), noise)
        return images

    # ------------------------------------------------------------------ training

    def train_on(self, batch: Batch) -> Tensor:
        """Return the negative weighted ELBO; likelihood and KL are computed in float32."""
        image, cond = batch["image"], batch["cond"]
        mu, logvar = (part.float() for part in self.nets.inference(image, cond))
        source = generator(run_seed(), self.global_rank, self.batches_seen, "posterior", device=self.device)
        eps = torch.randn(mu.shape, generator=source, device=self.device)
        params = self.nets.decoder(reparameterise(mu, logvar, eps), cond)
        with torch.autocast(self.device.type, enabled=False):
            log_prob = self.likelihood.log_prob(image.float(), params.float())
            kl = kl_standard_normal(mu, logvar)
            loss = self.objective(log_prob, kl, self.images_seen)
        self.losses["train/loss"] = loss.detach()
        self.losses["train/reconstruction"] = -log_prob.detach().mean()
        self.losses["train/kl"] = kl.detach().sum(dim=1).mean()
        return loss

    # ------------------------------------------------------------------ latent variables

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z|x, c), (N, latent_dim) each, by the nets that sample."""
        with self._exactly():
            return self._posterior(*self._checked(batch))

    def reconstruct(self, batch: Batch) -> Tensor:
        """Return the likelihood's mean at the posterior's mean, (N, C, H, W) in [-1, 1]."""
        with self._exactly():
            image, cond = self._checked(batch)
            params: Tensor = self.sampling_net.decoder(self._posterior(image, cond)[0], cond)
            return self.likelihood.mean(params)

    def interpolate(self, start: Batch, end: Batch, steps: int) -> Tensor:
        """Decode `steps` points of the straight line between the posterior means of two batches, ends included.

        Posterior means lie within the prior's shell, so a straight line leaves the region of likely z no more than its
        ends do. All points are decoded under the condition of `start`: what changes is the style.

        Returns:
            (N, steps, C, H, W) in [-1, 1].
        """
        if steps < 2:
            raise ValueError(f"steps must be at least 2, got {steps}")
        if len(start["image"]) != len(end["image"]):
            raise ValueError(f"interpolate needs pairs, got {len(start['image'])} and {len(end['image'])} images")
        with self._exactly():
            image, cond = self._checked(start)
            first, last = self._posterior(image, cond)[0], self._posterior(*self._checked(end))[0]
            shares = torch.linspace(0.0, 1.0, steps, device=self.device)
            means = [self.sampling_net.decoder(torch.lerp(first, last, share), cond) for share in shares]
            return torch.stack([self.likelihood.mean(params) for params in means], dim=1)

    # ------------------------------------------------------------------ likelihood

    @property
    def likelihood_unit(self) -> str:
        """What the likelihood is reported in."""
        return self.likelihood.unit

    def bounds(self, batch: Batch, samples: int = 1) -> dict[str, Tensor]:
        """Bound log p(x|c) from below, in nats, by the nets that sample.

        `elbo` is the mean and `iwae` the log-mean-exp of the same log importance weights (Burda et al. 2016, Eq. 8), so
        iwae >= elbo for each image, and they agree for one sample. The draws for an image depend on its `index` alone,
        its place in the batch where there is none.

        Args:
            batch: Images in [-1, 1] with conditions; binarised first for a Bernoulli likelihood.
            samples: Latent variables per image.

        Returns:
            `elbo` and `iwae`, (N,) each.
        """
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        with self._exactly():
            image, cond = self._checked(batch)
            index = batch.get("index", torch.arange(len(image))).tolist()
            image = self.likelihood.observe(image, keyed_noise(index, "observe", self.image_shape).to(self.device))
            mu, logvar = self._posterior(image, cond)
            parts = []
            for begin in range(0, samples, DRAWS_AT_ONCE):
                eps = keyed_noise(index, f"posterior from {begin}", (DRAWS_AT_ONCE, self.nets.latent_dim))
                eps = eps[:, : samples - begin].to(self.device)
                parts.append(self._log_weights(image, cond, mu, logvar, eps))
            log_weights = torch.cat(parts)
            return {"elbo": log_weights.mean(dim=0), "iwae": importance_weighted_bound(log_weights)}

    def _log_weights(self, image: Tensor, cond: Condition, mu: Tensor, logvar: Tensor, eps: Tensor) -> Tensor:
        """Return log p(x, z|c) - log q(z|x, c) (k, N) at z made from eps (N, k, latent_dim)."""
        count, draws = eps.shape[:2]
        rows = torch.arange(count, device=self.device).repeat_interleave(draws)
        z = reparameterise(mu[rows], logvar[rows], eps.flatten(0, 1))
        zero = torch.zeros_like(z)
        log_weights = log_normal(z, zero, zero) - log_normal(z, mu[rows], logvar[rows])
        log_prob = []
        for part, row in zip(z.split(DECODED_AT_ONCE), rows.split(DECODED_AT_ONCE), strict=True):
            params = self.sampling_net.decoder(part, {key: value[row] for key, value in cond.items()})
            log_prob.append(self.likelihood.log_prob(image[row], params))
        log_weights = log_weights + torch.cat(log_prob)
        return log_weights.view(count, draws).T

    def _posterior(self, image: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        mu, logvar = self.sampling_net.inference(image, cond)
        return mu, logvar

    def _checked(self, batch: Batch) -> tuple[Tensor, Condition]:
        """Check a batch and move it to the model's device."""
        check_shape(batch["image"], self.image_shape)
        check_range(batch["image"])
        rows = {"conditions": check_condition(batch["cond"], self.cond_spec, self.condition_keys, self.image_shape)}
        rows["index"] = len(batch["index"]) if "index" in batch else None
        for name, count in rows.items():
            if count not in (None, len(batch["image"])):
                raise ValueError(f"{name} must have one row per image: {count} for {len(batch['image'])} images")
        return batch["image"].to(self.device), conditions_to_model(to_device(batch["cond"], self.device))

    @contextmanager
    def _exactly(self) -> Iterator[None]:
        """Evaluate in float32 and evaluation mode, without gradients."""
        with torch.no_grad(), evaluating(self.sampling_net), torch.autocast(self.device.type, enabled=False):
            yield


def keyed_noise(index: list[int], purpose: str, shape: tuple[int, ...]) -> Tensor:
    """Draw standard normal noise (N, *shape), row i from (purpose, index[i]) alone."""
    return noise_per_seed(torch.tensor([derive(purpose, place) for place in index]), shape)
