"""Training loops by hand for a config's own nets, losses, optimizers and average: no Lightning, no checks, no log.

They pull the same levers as condgen (uint8 batches, channels-last, fused optimizers, a frozen discriminator that judges
once), so what `condgen fit` takes more than they do is overhead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condgen.allocation import memory_kept
from condgen.bench import Loop
from condgen.cli.bench_works import device_of
from condgen.cli.lightning import CLI
from condgen.models import DDPM, VAE, AdversarialModel
from condgen.models.auxiliary import LabelAuxiliary
from condgen.models.ddpm import separate
from condgen.models.players import frozen
from condgen.objectives import elbo, kl_standard_normal, reparameterise
from condgen.pixels import conditions_to_model, to_device, to_model_range
from condgen.types import Batch

Autocast = Callable[[], AbstractContextManager[object]]
Step = Callable[[Batch, int], None]
"""Trains on a batch, so many images after the start."""


def has_loop(model: L.LightningModule) -> bool:
    """Tell whether there is a loop for a model: it is of a family's plain kind."""
    if isinstance(model, AdversarialModel):
        more = (model.penalty, model.augment, model.reconstruction_weight, model.schedule, model.gradient_clip_val)
        plain = model.discriminator_steps == model.accumulate_grad_batches == model.adversarial_weight == 1
        return plain and not any(more) and isinstance(model.discriminator.classifier, LabelAuxiliary | None)
    if isinstance(model, VAE):
        return not (model.schedule or model.objective.kl_warmup or model.objective.free_bits)
    return isinstance(model, DDPM) and model.schedule is None and len(separate(model.denoiser.encoder)) < 2


def by_hand(cli: CLI) -> Loop:
    """Return a loop for the model of a run that is not going to be fitted.

    Raises:
        ValueError: If there is none.
    """
    model, device = cli.model.to(device_of(cli)), device_of(cli)
    if not has_loop(model) or cli.trainer.accumulate_grad_batches != 1:
        raise ValueError(f"there is no loop by hand for {type(model).__name__} with these settings")
    half = "16" in str(cli.trainer.precision)

    def autocast() -> AbstractContextManager[object]:
        return torch.autocast(device.type, torch.bfloat16, enabled=half)

    makers: dict[type[Any], Callable[..., Step]] = {AdversarialModel: adversarial, VAE: vae, DDPM: ddpm}
    make = next(make for kind, make in makers.items() if isinstance(model, kind))
    train = make(model, cli.trainer.gradient_clip_val, autocast)
    feed, seen = batches(cli), 0

    def step() -> int:
        nonlocal seen
        batch = next(feed)
        seen += len(batch["image"])
        train(batch, seen)
        return len(batch["image"])

    model.train()
    return Loop(step, device, around=memory_kept)


def batches(cli: CLI) -> Iterator[Batch]:
    """Yield training batches in [-1, 1] without end."""
    data, device = cli.datamodule, device_of(cli)
    data.prepare_data()
    loader = data.train_dataloader()
    while True:
        for raw in loader:
            cond = conditions_to_model(to_device(raw["cond"], device))
            yield {"image": to_model_range(raw["pixels"].to(device)), "cond": cond}


def adversarial(model: AdversarialModel, clip: float | None, autocast: Autocast) -> Step:
    """Train a discriminator and a generator in turns; without penalty, augmentation and reconstruction."""
    optimizer_g, optimizer_d = model.configure_optimizers()
    net_g, net_d, weight = model.generator, model.discriminator, model.classifier_weight
    judging = list(net_d.parameters())

    def classified(features: Tensor, label: Tensor) -> Tensor:
        return weight * F.cross_entropy(cast(nn.Module, net_d.classifier)(features), label)

    def train(batch: Batch, seen: int) -> None:
        real, cond = batch["image"], batch["cond"]
        with autocast():
            with torch.set_grad_enabled(model.shared_fakes):
                fake = net_g(torch.randn(len(real), *model.prior_shape, device=real.device), cond)
            on_real, on_fake = net_d.judge_both(real, fake.detach(), cond)
            loss = model.loss.discriminator(on_real.logits.float(), on_fake.logits.float())
            if weight:
                loss = loss + classified(on_real.features, cond["label"]) + classified(on_fake.features, cond["label"])
        loss.backward()
        optimizer_d.step()
        optimizer_d.zero_grad()
        with frozen(judging):
            with autocast():
                if not model.shared_fakes:
                    fake = net_g(torch.randn(len(real), *model.prior_shape, device=real.device), cond)
                judgement = net_d(fake, cond)
                loss = model.loss.generator(judgement.logits.float())
                if weight:
                    loss = loss + classified(judgement.features, cond["label"])
            loss.backward()
        optimizer_g.step()
        optimizer_g.zero_grad()
        if model.ema is not None:
            model.ema.update(net_g, len(real), seen)

    return train


def vae(model: VAE, clip: float | None, autocast: Autocast) -> Step:
    """Train on the negative ELBO."""

    def loss_of(batch: Batch) -> Tensor:
        image, cond = batch["image"], batch["cond"]
        with autocast():
            mu, logvar = (part.float() for part in model.nets.inference(image, cond))
            params = model.nets.decoder(reparameterise(mu, logvar, torch.randn_like(mu)), cond)
        kl = model.objective.beta * kl_standard_normal(mu, logvar)
        return -elbo(model.likelihood.log_prob(image, params.float()), kl).mean()

    return single(model, clip, loss_of)


def ddpm(model: DDPM, clip: float | None, autocast: Autocast) -> Step:
    """Train on the weighted squared error at random times."""
    process, prediction = model.process, model.prediction

    def loss_of(batch: Batch) -> Tensor:
        x_0, cond = batch["image"], batch["cond"]
        t, noise = torch.randint(process.num_steps, (len(x_0),)), torch.randn_like(x_0)
        drop = torch.rand(len(x_0), device=x_0.device) < model.condition_dropout
        x_t = process.q_sample(x_0, t, noise)
        with autocast():
            out = model.denoiser(x_t, model.time(1) * t.to(x_0.device), cond, drop)
        error = (out.float() - prediction.target(x_0, noise, *process.scales(t, x_0))).square().flatten(1).mean(dim=1)
        loss: Tensor = (model.weighting(prediction, process.snr(t)).to(error) * error).mean()
        return loss

    return single(model, clip, loss_of)


def single(model: VAE | DDPM, clip: float | None, loss_of: Callable[[Batch], Tensor]) -> Step:
    """Minimise one loss."""
    optimizer, parameters = model.configure_optimizers(), list(model.trained_net.parameters())

    def train(batch: Batch, seen: int) -> None:
        loss_of(batch).backward()
        if clip:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad()
        if model.ema is not None:
            model.ema.update(model.trained_net, len(batch["image"]), seen)

    return train
