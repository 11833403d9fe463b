"""The adversarial training algorithm (Goodfellow et al. 2014), conditional."""

from __future__ import annotations

import logging
from functools import partial
from typing import ClassVar, cast

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from condgen.conditions import EncoderFactory, LabelEncoder
from condgen.models.auxiliary import Auxiliary
from condgen.models.base import GenerativeModel
from condgen.models.numbers import check_numbers
from condgen.models.pair import make_players
from condgen.models.players import ConditionedNet, frozen
from condgen.models.roles import refuse_shifts
from condgen.models.schedule import Schedule
from condgen.models.single import OptimizerFactory, optimizer_of
from condgen.models.stepping import (
    count_batch,
    refuse_cut_window,
    refuse_fused_clipping,
    refuse_scaled_windows,
    window_ends,
)
from condgen.nets import Judgement, NetFactory
from condgen.objectives import AdversarialLoss, DiffAugment, NonSaturating, Penalty, Wasserstein
from condgen.seeding import generator, run_seed
from condgen.types import Batch, Condition, CondSpec, Shape

log = logging.getLogger("condgen")


class AdversarialModel(GenerativeModel):
    """A generator and a discriminator, trained in turns by manual optimisation.

    Each batch is one step of the discriminator; every `discriminator_steps`-th of them is followed by one step of the
    generator, on the same conditions and new noise. So B batches make B discriminator and B // discriminator_steps
    generator updates. With accumulation a step takes `accumulate_grad_batches` batches, fewer at an epoch's end. A
    discriminator that judges each image by itself, without batch norm, judges real and generated ones in one pass.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module.
        generator: Factory of the generator's net; null for the family's own.
        discriminator: Factory of the discriminator's net; null for the family's own.
        encoder: Factory of the generator's condition encoder, and of the discriminator's.
        discriminator_encoder: Factory of the discriminator's, where it shall be another.
        loss: The pair of losses.
        penalty: Penalty on the discriminator's gradient, always in float32.
        augment: Changes what the discriminator sees, real or generated; the penalty is taken at what it sees.
        classifier_weight: Weight of an auxiliary classifier in both players' losses, where the generator is asked for
            a label, which it tells by the discriminator's features (Odena et al. 2017, Eq. 3), or for a mask, which it
            tells by a small net of its own that learns from real images alone. 0 for none.
        reconstruction_weight: Weight of the mean absolute difference between generated images and the real ones of the
            same conditions, in the generator's loss (Isola et al. 2017, Eq. 4); 0 for none.
        adversarial_weight: Weight of the discriminator's judgement in that loss; at 0 it learns, but teaches nothing.
        generator_optimizer: Factory of the optimizer; null for fused Adam(2e-4, betas=(0.5, 0.999)).
        discriminator_optimizer: The same for the discriminator.
        schedule: Factor of both learning rates as a function of images seen.
        discriminator_steps: Discriminator steps per generator step.
        shared_fakes: Let both turns of a batch be about the same generated images, which saves a pass of the generator;
            else each turn draws its own.
        gradient_clip_val: Largest gradient norm of either player; null for no clipping.
        accumulate_grad_batches: Batches per optimizer step.
        ema_half_life: Half-life in images of the averaged generator that samples; null to sample with the raw one.
        sample_chunk: Images per net evaluation in `sample`; null for what the device is fast at.
    """

    default_generator: ClassVar[type[nn.Module]]
    default_discriminator: ClassVar[type[nn.Module]]

    def __init__(
        self,
        image_shape: Shape,
        cond_spec: CondSpec,
        *,
        generator: NetFactory | None = None,
        discriminator: NetFactory | None = None,
        encoder: EncoderFactory = LabelEncoder,
        discriminator_encoder: EncoderFactory | None = None,
        loss: AdversarialLoss = NonSaturating(),  # noqa: B008 - immutable
        penalty: Penalty | None = None,
        augment: DiffAugment | None = None,
        classifier_weight: float = 0.0,
        reconstruction_weight: float = 0.0,
        adversarial_weight: float = 1.0,
        generator_optimizer: OptimizerFactory | None = None,
        discriminator_optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        discriminator_steps: int = 1,
        shared_fakes: bool = False,
        gradient_clip_val: float | None = None,
        accumulate_grad_batches: int = 1,
        ema_half_life: float | None = 10_000.0,
        sample_chunk: int | None = None,
    ) -> None:
        super().__init__(image_shape, cond_spec, sample_chunk)
        self.automatic_optimization = False
        weights = {"adversarial_weight": adversarial_weight, "classifier_weight": classifier_weight}
        weights["reconstruction_weight"] = reconstruction_weight
        check_numbers(discriminator_steps, accumulate_grad_batches, gradient_clip_val, **weights)
        if isinstance(loss, Wasserstein) and penalty is None:
            raise ValueError("Wasserstein needs a penalty that bounds the critic's gradient, such as GradientPenalty")
        self.loss = loss
        self.penalty = penalty
        self.augment = augment
        self.reconstruction_weight = reconstruction_weight
        self.adversarial_weight = adversarial_weight
        adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999), fused=True)
        self.generator_optimizer = generator_optimizer or adam
        self.discriminator_optimizer = discriminator_optimizer or adam
        self.schedule = schedule
        self.discriminator_steps = discriminator_steps
        self.shared_fakes = shared_fakes
        self.gradient_clip_val = gradient_clip_val
        self.accumulate_grad_batches = accumulate_grad_batches
        self._judging: tuple[nn.Parameter, ...] = ()
        self.discriminator_updates = 0
        self.generator_updates = 0
        encoders = encoder(cond_spec), (discriminator_encoder or encoder)(cond_spec)
        refuse_shifts(augment, encoders[1].dims)
        nets = self._net("generator", generator), self._net("discriminator", discriminator)
        players = make_players(nets, encoders, self.image_shape, cond_spec if classifier_weight else {})
        self.generator, self.discriminator = players
        self.classifier_weight = classifier_weight if self.discriminator.classifier is not None else 0.0
        self.complete(ema_half_life)

    def _net(self, player: str, given: NetFactory | None) -> NetFactory:
        """Return what makes a player's net: what was given, or the family's own."""
        found: NetFactory | None = given or getattr(type(self), f"default_{player}", None)
        if found is None:
            raise ValueError(f"{type(self).__name__} has no {player} of its own: give model.{player}")
        return found

    # ------------------------------------------------------------------ sampling

    @property
    def trained_net(self) -> ConditionedNet:
        """The generator."""
        return self.generator

    @property
    def prior_shape(self) -> tuple[int, ...]:
        """Shape of the generator's noise."""
        return (cast(int, self.generator.net.latent_dim),)

    def generate(self, noise: Tensor, cond: Condition) -> Tensor:
        """Apply the generator."""
        return cast(Tensor, self.sampling_net(noise, cond))

    # ------------------------------------------------------------------ training

    def configure_optimizers(self) -> list[Optimizer]:
        """Return the generator's and the discriminator's optimizer."""
        return [
            optimizer_of(self.generator_optimizer, self.generator, "generator_optimizer"),
            optimizer_of(self.discriminator_optimizer, self.discriminator, "discriminator_optimizer"),
        ]

    def on_train_start(self) -> None:
        """Refuse what cannot be trained, such as an end within a window; note what to freeze, say what is idle."""
        super().on_train_start()
        refuse_fused_clipping(self.trainer, self.gradient_clip_val, "gradient_clip_val")
        refuse_scaled_windows(self.trainer, self.accumulate_grad_batches)
        refuse_cut_window(self.trainer, self.accumulate_grad_batches)
        if (given := self.init_args.get("classifier_weight")) and not self.classifier_weight:
            log.warning(f"classifier_weight {given:g} has no effect: no label and no mask is asked for")
        self._judging = tuple(p for p in self.discriminator.parameters() if p.requires_grad)

    def train_on(self, batch: Batch) -> None:
        """Take the discriminator's turn, and the generator's when it is due."""
        optimizer_g, optimizer_d = cast(list[LightningOptimizer], self.optimizers())
        count_batch(self.trainer, optimizer_g, optimizer_d)
        if self.schedule is not None:
            self.schedule.apply(optimizer_g.optimizer, self.images_seen)
            self.schedule.apply(optimizer_d.optimizer, self.images_seen)
        is_last = window_ends(self.trainer, self.batches_seen, self.accumulate_grad_batches)
        generator_is_due = (self.discriminator_updates + 1) % self.discriminator_steps == 0
        shared = self._fakes(batch, "generator") if self.shared_fakes and generator_is_due else None

        self._backward(self.discriminator_loss(batch, shared), optimizer_d, is_last)
        self.discriminator_updates += is_last
        if generator_is_due:
            with frozen(self._judging):
                self._backward(self.generator_loss(batch, shared), optimizer_g, is_last)
            self.generator_updates += is_last
            if is_last:
                self.update_ema(self.images_seen + self.num_images(batch))

    def discriminator_loss(self, batch: Batch, shared: Tensor | None = None) -> Tensor:
        """Judge real images and generated ones under the same conditions: shared ones, or ones of its own."""
        cond, real = batch["cond"], self._augmented(batch["image"], "real")
        with torch.no_grad():
            fake = self._augmented(self._fakes(batch, "discriminator") if shared is None else shared.detach(), "fake")
        on_real, on_fake = self.discriminator.judge_both(real, fake, cond)
        loss = self.loss.discriminator(on_real.logits.float(), on_fake.logits.float())
        self.losses["train/discriminator_loss"] = loss.detach()
        if self.penalty is not None and self.discriminator_updates % self.penalty.every == 0:
            loss = loss + self._penalty(self.penalty, real, fake, cond)
        if self.classifier_weight:
            loss = loss + self._classify(batch["image"], on_real, cond, "real")
            if self._auxiliary.learns_from_samples:
                loss = loss + self._classify(fake, on_fake, cond, "fake")
        return loss

    def generator_loss(self, batch: Batch, shared: Tensor | None = None) -> Tensor:
        """Let the discriminator judge generated images, shared or new ones."""
        cond, fake = batch["cond"], self._fakes(batch, "generator") if shared is None else shared
        judgement = self.discriminator(self._augmented(fake, "generator"), cond)
        loss = self.loss.generator(judgement.logits.float())
        self.losses["train/generator_loss"] = loss.detach()
        loss = self.adversarial_weight * loss
        if self.reconstruction_weight:
            loss = loss + self._reconstruct(fake, batch["image"])
        return loss + self._classify(fake, judgement, cond, "generator") if self.classifier_weight else loss

    def _fakes(self, batch: Batch, purpose: str) -> Tensor:
        return cast(Tensor, self.generator(self.draw_prior(len(batch["image"]), purpose), batch["cond"]))

    def draw_prior(self, count: int, purpose: str) -> Tensor:
        """Draw training noise from (seed, rank, batch, purpose) on the device."""
        return torch.randn(count, *self.prior_shape, generator=self._source(purpose), device=self.device)

    def _source(self, purpose: str) -> torch.Generator:
        return generator(run_seed(), self.global_rank, self.batches_seen, purpose, device=self.device)

    def _augmented(self, image: Tensor, what: str) -> Tensor:
        return image if self.augment is None else self.augment(image, self._source(f"augment {what}"))

    def _penalty(self, penalty: Penalty, real: Tensor, fake: Tensor, cond: Condition) -> Tensor:
        def critic(image: Tensor) -> Tensor:
            return cast(Tensor, self.discriminator(image, cond).realness)

        with torch.autocast(self.device.type, enabled=False):
            value = penalty(critic, real, fake.float(), self._source("penalty"))
        self.losses["train/penalty"] = value.detach()
        return value

    @property
    def _auxiliary(self) -> Auxiliary:
        return cast(Auxiliary, self.discriminator.classifier)

    def _classify(self, image: Tensor, judgement: Judgement, cond: Condition, what: str) -> Tensor:
        loss = self._auxiliary.loss(image, judgement, cond)
        self.losses[f"train/classifier_loss_{what}"] = loss.detach()
        return self.classifier_weight * loss

    def _reconstruct(self, fake: Tensor, real: Tensor) -> Tensor:
        distance = F.l1_loss(fake.float(), real)
        self.losses["train/reconstruction_loss"] = distance.detach()
        return self.reconstruction_weight * distance

    def _backward(self, loss: Tensor, optimizer: LightningOptimizer, step: bool) -> None:
        self.manual_backward(loss / self.accumulate_grad_batches)
        if step:
            optimizer.step()
            optimizer.zero_grad()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip one player's gradient; a scaler's factor has been taken out by now."""
        super().on_before_optimizer_step(optimizer)
        if self.gradient_clip_val is not None and self.gradient_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grads_with_norm_(parameters, self.gradient_clip_val, self.gradient_norm)

    def progress(self) -> dict[str, int]:
        """Return the counters that a checkpoint keeps."""
        names = ("discriminator_updates", "generator_updates")
        return super().progress() | {name: getattr(self, name) for name in names}
