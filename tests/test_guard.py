"""What is not finite never reaches the weights, and is named with its batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import lightning as L
import pytest
import torch
from conftest import small_cgan
from torch import Tensor, nn

from condgen.callbacks import Checkpoint
from condgen.data import Digits
from condgen.models import VAE, GenerativeModel, guard
from condgen.models.guard import Guard
from condgen.nets import MLPDecoder, MLPEncoder

MakeTrainer = Callable[..., L.Trainer]
ADAM = partial(torch.optim.Adam, lr=1e-3)
FUSED = partial(torch.optim.Adam, lr=1e-3, fused=True)


def small_vae(digits: Digits, **kwargs: Any) -> VAE:
    nets = {"inference": partial(MLPEncoder, hidden=(16,)), "decoder": partial(MLPDecoder, hidden=(16,))}
    return VAE(digits.image_shape, digits.cond_spec, **nets, **kwargs)


def poison(model: GenerativeModel, parameter: nn.Parameter, batch: int) -> None:
    """Let a gradient be NaN in one batch."""
    parameter.register_hook(lambda grad: grad * float("nan") if model.guard.batch == batch else None)


class Weights(L.Callback):
    """Copies what is trained after each batch."""

    def __init__(self) -> None:
        self.after: list[list[Tensor]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.after.append([p.detach().clone() for p in pl_module.parameters() if p.requires_grad])


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("make", "player"), [(small_cgan, "generator"), (small_cgan, "discriminator"), (small_vae, "nets")]
)
def test_on_a_cpu_the_very_batch_stops_the_run(
    make: Callable[..., Any], player: str, digits: Digits, make_trainer: MakeTrainer
) -> None:
    model, weights = make(digits), Weights()
    net = getattr(model, player)
    poison(model, next(net.parameters()), 4)
    with pytest.raises(FloatingPointError, match=f"the gradient of {player} is nan at batch 4; training stops"):
        make_trainer(max_steps=9, callbacks=[weights]).fit(model, digits)
    assert len(weights.after) == 3
    after = [p for p in model.parameters() if p.requires_grad]
    assert all(torch.isfinite(p).all() for p in after)
    assert same(weights.after[-1], after) is (player != "generator")  # for the discriminator has had its turn


@pytest.mark.parametrize("optimizer", [ADAM, FUSED, partial(torch.optim.SGD, lr=0.1)])
@pytest.mark.parametrize("make", [small_cgan, small_vae])
def test_a_device_that_runs_ahead_masks_the_update_until_the_host_looks(
    make: Callable[..., Any], optimizer: Any, digits: Digits, make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "start", lambda self, device: setattr(self, "every", 5))
    optimizers = (
        {"optimizer": optimizer}
        if make is small_vae
        else {"generator_optimizer": optimizer, "discriminator_optimizer": optimizer}
    )
    model, weights = make(digits, **optimizers), Weights()
    net = model.nets.decoder.net if make is small_vae else model.discriminator.net
    poison(model, next(net.parameters()), 7)
    with pytest.raises(FloatingPointError, match=r"the gradient of (nets|discriminator) is nan at batch 7;"):
        make_trainer(max_steps=20, callbacks=[weights]).fit(model, digits)
    assert model.batches_seen in (9, 10)  # looked at after batch 5, and after batch 10
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert not same(weights.after[4], weights.after[5])
    if optimizer is not ADAM:  # whose momentum goes on
        assert same(weights.after[5], weights.after[-1])


def test_a_loss_is_named_before_its_gradient(digits: Digits, make_trainer: MakeTrainer) -> None:
    model = small_vae(digits)
    spoil = model.train_on

    def train_on(batch: Any) -> Tensor:
        loss = spoil(batch)
        if model.batches_seen == 2:
            model.losses["train/kl"] = torch.tensor(float("inf"))
        return loss

    model.train_on = train_on  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError, match=r"train/kl is inf at batch 3; training stops, and its weights are"):
        make_trainer(max_steps=9).fit(model, digits)


def test_clipping_does_not_hide_what_is_not_finite(digits: Digits, make_trainer: MakeTrainer) -> None:
    model = small_cgan(digits, gradient_clip_val=1.0)
    poison(model, model.generator.net.layers[0].weight, 2)
    with pytest.raises(FloatingPointError, match="the gradient of generator is nan at batch 2"):
        make_trainer(max_steps=9).fit(model, digits)


def test_the_host_looks_before_each_save(
    digits: Digits, make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "start", lambda self, device: setattr(self, "every", 1000))
    model = small_cgan(digits)
    poison(model, model.generator.net.layers[0].weight, 5)
    with pytest.raises(FloatingPointError, match="at batch 5;"):
        make_trainer(max_steps=30, enable_checkpointing=True, callbacks=[Checkpoint(every_n_batches=4)]).fit(
            model, digits
        )
    assert model.batches_seen == 8
    (last,) = tmp_path.rglob("last.ckpt")
    assert torch.load(last, weights_only=True)["condgen"]["progress"]["batches_seen"] == 4
    model = small_cgan(digits)
    poison(model, model.generator.net.layers[0].weight, 5)
    with pytest.raises(FloatingPointError, match="at batch 5;"):  # at the end
        make_trainer(max_steps=30).fit(model, digits)


def test_steps_that_a_loss_scaler_skips_are_counted_and_not_masked() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer, watching = torch.optim.SGD([weight], lr=1.0), Guard()
    for batch in range(1, 5):
        watching.batch = batch
        weight.grad = torch.full((3,), float("inf") if batch in (2, 3) else 1.0)
        watching.watch(optimizer, "net", {"train/loss": torch.tensor(1.0)}, scaled=True)
    watching.look()
    assert watching.take_skipped() == 2
    assert watching.take_skipped() == 0
    with pytest.raises(FloatingPointError, match=r"train/loss is nan at batch 4"):
        watching.watch(optimizer, "net", {"train/loss": torch.tensor(float("nan"))}, scaled=True)


@pytest.mark.parametrize("fused", [False, True])
def test_logged_gradient_norms_are_those_without_the_loss_scale(fused: bool, digits: Digits) -> None:
    model = small_cgan(digits)
    norms = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        optimizer = torch.optim.Adam(model.generator.parameters(), fused=fused)
        trainer: Any = SimpleNamespace(scaler=scaler, optimizers=[optimizer], callbacks=[])
        with patch.object(type(model), "trainer", trainer):
            model.on_fit_start()
            optimizer.zero_grad()
            loss = sum(p.square().sum() for p in model.generator.parameters())
            (loss if scaler is None else scaler.scale(loss)).backward()
            if scaler is not None and not fused:  # as Lightning does
                scaler.unscale_(optimizer)
            model.on_before_optimizer_step(optimizer)
        norms.append(model.gradient_norms["train/generator_gradient_norm"])
    torch.testing.assert_close(norms[1], norms[0], rtol=1e-5, atol=0)


def test_no_value_is_looked_at_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would make the host wait for a GPU is not called."""

    def waits(*_: Any) -> None:
        raise AssertionError("the host waits")

    watching = Guard()
    watching.start(torch.device("meta"))
    assert watching.every == guard.EVERY
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "__bool__", "__float__", "__int__"):
            patch.setattr(Tensor, name, waits)
        for batch in range(1, guard.EVERY):
            watching.batch = batch
            weight.grad = torch.full((3,), float("nan") if batch == 20 else 1.0)
            watching.watch(optimizer, "net", {"train/loss": torch.tensor(1.0)}, scaled=False)
    assert not weight.grad.any()
    with pytest.raises(FloatingPointError, match="the gradient of net is nan at batch 20"):
        watching.look()
