"""The training algorithm: equal to a hand-written loop, step by step, and its bookkeeping."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from conftest import same_weights, small_cgan
from torch import Tensor, nn

from condgen.conditions import NoCondition
from condgen.data import BatchLoader, Digits, ImageSet
from condgen.models import CGAN, DCGAN, CosineDecay, LinearDecay
from condgen.models.stepping import refuse_fused_clipping, refuse_scaled_windows
from condgen.nets import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPEncoder, MLPGenerator, UNet
from condgen.objectives import R1, AdversarialLoss, GradientPenalty, Hinge, LeastSquares, NonSaturating, Wasserstein
from condgen.pixels import to_model_range
from condgen.seeding import generator

MakeTrainer = Callable[..., L.Trainer]
SGD = partial(torch.optim.SGD, lr=0.05)
NO_NORM = partial(MLPGenerator, latent_dim=8, hidden=(16,), batch_norm=False)
ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999))


class Recorder(L.Callback):
    """Keeps the losses of every batch."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
        self.losses.append({name: float(value) for name, value in pl_module.losses.items()})
        pl_module.losses.clear()


def reference_losses(name: str, real: Tensor, fake: Tensor) -> Tensor:
    if name == "NonSaturating":
        return -(torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(fake)).log().mean())
    if name == "Hinge":
        return (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    if name == "LeastSquares":
        return ((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2
    return fake.mean() - real.mean()


def reference_generator_loss(name: str, fake: Tensor) -> Tensor:
    if name == "NonSaturating":
        return -torch.sigmoid(fake).log().mean()
    if name == "LeastSquares":
        return ((fake - 1) ** 2).mean() / 2
    return -fake.mean()


def plain_loop(
    net_g: nn.Module, net_d: nn.Module, name: str, data: Digits, steps: int, shared: bool = False
) -> tuple[list[float], list[float]]:
    """The algorithm once more in plain PyTorch, sharing only the names of the random draws."""
    opt_g, opt_d = ADAM(net_g.parameters()), ADAM(net_d.parameters())
    losses_d, losses_g = [], []
    loader = iter(BatchLoader(data.images("train"), 64, shuffle=True))
    for k in range(steps):
        raw = next(loader)
        real, cond = to_model_range(raw["pixels"]), raw["cond"]

        def noise(purpose: str, k: int = k) -> Tensor:
            return torch.randn(64, 8, generator=generator(0, 0, k, purpose))

        with torch.no_grad():
            fake = net_g(noise("generator" if shared else "discriminator"), cond)
        twice = {key: torch.cat([value, value]) for key, value in cond.items()}
        loss = reference_losses(name, *net_d(torch.cat([real, fake]), twice).logits.chunk(2))
        losses_d.append(loss.item())
        if name == "Wasserstein":
            share = torch.rand(64, 1, 1, 1, generator=generator(0, 0, k, "penalty"))
            between = (real + share * (fake - real)).requires_grad_()
            grads = torch.autograd.grad(net_d(between, cond).logits.sum(), between, create_graph=True)[0]
            loss = loss + 10 * ((grads.flatten(1).norm(dim=1) - 1) ** 2).mean()
        opt_d.zero_grad()
        loss.backward()
        opt_d.step()

        loss = reference_generator_loss(name, net_d(net_g(noise("generator"), cond), cond).logits)
        losses_g.append(loss.item())
        opt_g.zero_grad()
        loss.backward()
        opt_g.step()
    return losses_d, losses_g


@pytest.mark.parametrize(
    "loss", [NonSaturating(), Hinge(), LeastSquares(), Wasserstein()], ids=lambda x: type(x).__name__
)
def test_training_equals_a_plain_loop(loss: AdversarialLoss, digits: Digits, make_trainer: MakeTrainer) -> None:
    name = type(loss).__name__
    model = small_cgan(
        digits,
        loss=loss,
        penalty=GradientPenalty() if name == "Wasserstein" else None,
        generator_optimizer=ADAM,
        discriminator_optimizer=ADAM,
    )
    net_g, net_d = deepcopy(model.generator), deepcopy(model.discriminator)
    recorder = Recorder()
    make_trainer(max_steps=4, callbacks=[recorder]).fit(model, digits)
    losses_d, losses_g = plain_loop(net_g, net_d, name, digits, steps=4)

    assert [row["train/discriminator_loss"] for row in recorder.losses] == pytest.approx(losses_d, abs=1e-6)
    assert [row["train/generator_loss"] for row in recorder.losses] == pytest.approx(losses_g, abs=1e-6)
    for mine, theirs in ((model.generator, net_g), (model.discriminator, net_d)):
        for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_players_may_share_generated_images(digits: Digits, make_trainer: MakeTrainer) -> None:
    optimizers = {"generator_optimizer": ADAM, "discriminator_optimizer": ADAM}
    model = small_cgan(digits, loss=LeastSquares(), shared_fakes=True, generator=NO_NORM, **optimizers)
    net_g, net_d = deepcopy(model.generator), deepcopy(model.discriminator)
    passes: list[int] = []
    model.generator.register_forward_hook(lambda *_: passes.append(1))
    recorder = Recorder()
    make_trainer(max_steps=4, callbacks=[recorder]).fit(model, digits)
    losses_d, losses_g = plain_loop(net_g, net_d, "LeastSquares", digits, steps=4, shared=True)
    assert len(passes) == 4
    assert [row["train/discriminator_loss"] for row in recorder.losses] == pytest.approx(losses_d, abs=1e-6)
    assert [row["train/generator_loss"] for row in recorder.losses] == pytest.approx(losses_g, abs=1e-6)
    for mine, theirs in zip(model.generator.parameters(), net_g.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("steps", "generator_updates"), [(1, 100), (3, 33)])
def test_max_steps_counts_batches(
    steps: int, generator_updates: int, digits: Digits, make_trainer: MakeTrainer
) -> None:
    model, recorder = small_cgan(digits, discriminator_steps=steps), Recorder()
    trainer = make_trainer(max_steps=100, callbacks=[recorder])
    trainer.fit(model, digits)
    assert len(recorder.losses) == trainer.global_step == model.batches_seen == 100
    assert model.discriminator_updates == 100
    assert model.generator_updates == generator_updates
    assert model.images_seen == 6400
    assert sum("train/generator_loss" in row for row in recorder.losses) == generator_updates


def test_accumulation_equals_one_large_batch(digits: Digits, make_trainer: MakeTrainer) -> None:
    """Without batch norm, and with the same noise, four batches of 16 are one discriminator step on 64."""

    class SameNoise(CGAN):
        def draw_prior(self, count: int, purpose: str) -> Tensor:
            noise = torch.randn(64, 8, generator=generator(purpose))
            return noise[self.batches_seen * 16 :][:count]

    def train(batch_size: int, accumulate: int, max_steps: int) -> CGAN:
        L.seed_everything(0, verbose=False)
        model = SameNoise(
            digits.image_shape,
            digits.cond_spec,
            generator=partial(MLPGenerator, latent_dim=8, hidden=(16,), batch_norm=False),
            discriminator=partial(MLPDiscriminator, hidden=(16,), dropout=0.0),
            discriminator_optimizer=SGD,
            generator_optimizer=SGD,
            accumulate_grad_batches=accumulate,
        )
        trainer = make_trainer(max_steps=max_steps)
        trainer.fit(model, Digits(batch_size=batch_size))
        assert trainer.global_step == max_steps
        return model

    small, large = train(16, 4, 4), train(64, 1, 1)
    assert small.discriminator_updates == small.generator_updates == large.generator_updates == 1
    for a, b in zip(small.discriminator.parameters(), large.discriminator.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_the_last_window_of_an_epoch_is_stepped(digits: Digits, make_trainer: MakeTrainer) -> None:
    model = small_cgan(digits, accumulate_grad_batches=5)
    make_trainer(max_epochs=2).fit(model, digits)
    assert model.batches_seen == 32  # 16 batches an epoch: windows of 5, 5, 5 and 1
    assert model.discriminator_updates == 8


def test_clipping_bounds_each_players_step(digits: Digits, make_trainer: MakeTrainer) -> None:
    sgd = partial(torch.optim.SGD, lr=1.0)
    model = small_cgan(digits, gradient_clip_val=1e-3, generator_optimizer=sgd, discriminator_optimizer=sgd)
    before = [p.detach().clone() for p in model.parameters() if p.requires_grad]
    make_trainer(max_steps=1).fit(model, digits)
    after = [p.detach() for p in model.parameters() if p.requires_grad]
    moved = torch.stack([(a - b).norm() for a, b in zip(after, before, strict=True)]).norm()
    assert float(moved) == pytest.approx(1e-3 * 2**0.5, rel=1e-2)


@pytest.mark.parametrize("fused", [False, True])
def test_bf16_trains_with_clipping_penalty_and_fused_optimizers(
    fused: bool, digits: Digits, make_trainer: MakeTrainer
) -> None:
    adam = partial(torch.optim.Adam, lr=1e-3, fused=fused)
    penalty_dtypes = []

    class Spy(R1):
        def __call__(self, critic: Any, real: Tensor, fake: Tensor, source: torch.Generator) -> Tensor:
            penalty_dtypes.append(critic(real).dtype)
            return super().__call__(critic, real, fake, source)

    model = DCGAN(
        digits.image_shape,
        digits.cond_spec,
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        gradient_clip_val=1.0,
        penalty=Spy(weight=0.1, every=2),
    )
    recorder = Recorder()
    make_trainer(max_steps=6, precision="bf16-mixed", callbacks=[recorder]).fit(model, digits)
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in model.parameters())
    assert penalty_dtypes == [torch.float32] * 3
    assert sum("train/penalty" in row for row in recorder.losses) == 3
    assert model.sample({"label": torch.tensor([1])}).dtype == torch.float32


def test_the_average_lags_behind_the_generator(digits: Digits, make_trainer: MakeTrainer) -> None:
    model = small_cgan(digits, ema_half_life=1000.0)
    make_trainer(max_steps=20).fit(model, digits)
    raw, averaged = model.generator.state_dict(), model.ema.net.state_dict()
    assert model.sampling_net is model.ema.net
    assert not torch.equal(raw["net.layers.0.weight"], averaged["net.layers.0.weight"])
    assert torch.equal(raw["net.layers.1.running_mean"], averaged["net.layers.1.running_mean"])
    without = small_cgan(digits, ema_half_life=None)
    assert without.sampling_net is without.generator
    assert not without.averaged


def test_an_auxiliary_classifier_learns_from_a_discriminator_that_sees_no_label(
    digits: Digits, make_trainer: MakeTrainer
) -> None:
    model, recorder = (
        small_cgan(digits, discriminator_encoder=NoCondition, classifier_weight=1.0, discriminator_optimizer=ADAM),
        Recorder(),
    )
    make_trainer(max_steps=120, callbacks=[recorder]).fit(model, digits)
    first, last = recorder.losses[0], recorder.losses[-1]
    assert last["train/classifier_loss_real"] < 0.8 * first["train/classifier_loss_real"]
    assert model.discriminator.classifier.out_features == 10


def test_schedules_follow_images_seen(digits: Digits, make_trainer: MakeTrainer) -> None:
    rates = []

    class Spy(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
            rates.append([o.param_groups[0]["lr"] for o in trainer.optimizers])

    model = small_cgan(digits, schedule=LinearDecay(start=64, stop=64 * 5), generator_optimizer=SGD)
    make_trainer(max_steps=7, callbacks=[Spy()]).fit(model, digits)
    assert [r[0] / 0.05 for r in rates] == pytest.approx([1, 1, 0.75, 0.5, 0.25, 0, 0])
    assert [r[1] / 2e-4 for r in rates] == pytest.approx([1, 1, 0.75, 0.5, 0.25, 0, 0])
    cosine = CosineDecay(stop=1100, warmup=100, final=0.1)
    assert [cosine(n) for n in (100, 600, 1100, 5000)] == pytest.approx([1.0, 0.55, 0.1, 0.1])
    assert cosine(0) == pytest.approx(1 / 101)


def test_two_runs_with_one_seed_are_identical(digits: Digits, make_trainer: MakeTrainer) -> None:
    def train(seed: int) -> CGAN:
        L.seed_everything(seed, verbose=False)
        model = small_cgan(digits, discriminator=partial(MLPDiscriminator, hidden=(16,), dropout=0.5))
        make_trainer(max_steps=30).fit(model, digits)
        return model

    assert same_weights(train(0), train(0))
    assert not same_weights(train(0), train(1))


def test_a_resumed_run_equals_the_uninterrupted_one(digits: Digits, make_trainer: MakeTrainer, tmp_path: Path) -> None:
    def model() -> CGAN:
        L.seed_everything(3, verbose=False)
        return small_cgan(digits, discriminator=partial(MLPDiscriminator, hidden=(16,), dropout=0.5))

    whole = model()
    make_trainer(max_steps=40).fit(whole, Digits())
    for stop in (10, 16, 20):  # in mid-epoch, at an epoch's last batch, in the second epoch
        first, rest = make_trainer(max_steps=stop), make_trainer(max_steps=40)
        first.fit(model(), Digits())
        first.save_checkpoint(tmp_path / "stop.ckpt")
        L.seed_everything(3, verbose=False)
        resumed = small_cgan(digits, discriminator=partial(MLPDiscriminator, hidden=(16,), dropout=0.5))
        rest.fit(resumed, Digits(), ckpt_path=tmp_path / "stop.ckpt", weights_only=True)
        assert resumed.progress() == whole.progress()
        assert same_weights(resumed, whole)


def test_a_loss_that_is_not_finite_stops_the_run(digits: Digits, make_trainer: MakeTrainer) -> None:
    model = small_cgan(digits, loss=Hinge(), discriminator_optimizer=partial(torch.optim.SGD, lr=1e30))
    with pytest.raises(FloatingPointError, match=r"(train/\w+ is (nan|inf|-inf) at|is not finite after) batch"):
        make_trainer(max_steps=50, log_every_n_steps=1).fit(model, digits)


def test_weights_that_are_not_finite_are_never_saved(digits: Digits, make_trainer: MakeTrainer, tmp_path: Path) -> None:
    class Poison(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
            if trainer.global_step == 3:
                pl_module.generator.net.layers[0].weight.data[0, 0] = float("nan")

    trainer = make_trainer(max_steps=3, callbacks=[Poison()])
    with pytest.raises(FloatingPointError, match=r"generator\.net\.layers\.0\.weight is not finite after batch 3"):
        trainer.fit(small_cgan(digits), digits)
    with pytest.raises(FloatingPointError, match="nothing was saved"):
        trainer.save_checkpoint(tmp_path / "nan.ckpt")
    assert not (tmp_path / "nan.ckpt").exists()


@pytest.mark.parametrize("offset", [1, -1])
def test_labels_outside_the_classes_stop_before_training(
    offset: int, digits: Digits, make_trainer: MakeTrainer
) -> None:
    class Shifted(Digits):
        def load(self, split: Any) -> ImageSet:
            images = super().load(split)
            return ImageSet(images.pixels, {"label": images.cond["label"] + offset})

    class Late(Digits):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            out = super().on_after_batch_transfer(batch, dataloader_idx)
            return {**out, "cond": {"label": out["cond"]["label"] + offset}}

    for data in (Shifted(), Late()):
        with pytest.raises(ValueError, match=r"label must be in \[0, 9\], got (10|-1)"):
            make_trainer(max_steps=1).fit(small_cgan(digits), data)


@pytest.mark.parametrize("bad", [2.0, float("nan")])
def test_bad_images_stop_training_with_their_range(bad: float, digits: Digits, make_trainer: MakeTrainer) -> None:
    class Corrupt(Digits):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            out = super().on_after_batch_transfer(batch, dataloader_idx)
            out["image"][0, 0, 0, 0] = bad
            return out

    with pytest.raises(ValueError, match=r"image values must be finite and in \[-1, 1\]"):
        make_trainer(max_steps=1).fit(small_cgan(digits), Corrupt())


def test_a_model_for_other_images_says_so(digits: Digits, make_trainer: MakeTrainer) -> None:
    model = CGAN((3, 8, 8), digits.cond_spec)
    with pytest.raises(ValueError, match=r"image must be \(N, 3, 8, 8\), got \(64, 1, 8, 8\)"):
        make_trainer(max_steps=1).fit(model, digits)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"discriminator_steps": 0}, "discriminator_steps must be at least 1, got 0"),
        ({"accumulate_grad_batches": -1}, "accumulate_grad_batches must be at least 1, got -1"),
        ({"gradient_clip_val": 0.0}, "gradient_clip_val must be above 0"),
        ({"classifier_weight": -0.5}, "classifier_weight must be at least 0"),
        ({"ema_half_life": 0.0}, "ema_half_life must be above 0"),
        ({"sample_chunk": 0}, "sample_chunk must be at least 1"),
        ({"loss": Wasserstein()}, "Wasserstein needs a penalty"),
        ({"generator": MLPDiscriminator}, "generator: MLPDiscriminator states no latent_dim"),
        ({"generator": MLPEncoder}, r"generator: MLPEncoder cannot be applied to \(z, condition\)"),
        ({"discriminator": partial(UNet, attention=())}, "discriminator: UNet states no feature_dim"),
    ],
)
def test_senseless_arguments_are_named(kwargs: dict[str, Any], message: str, digits: Digits) -> None:
    with pytest.raises(ValueError, match=message):
        small_cgan(digits, **kwargs)


def test_clipping_what_a_fused_optimizer_has_yet_to_unscale_is_refused() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    fused, plain = (torch.optim.Adam(parameters, fused=value) for value in (True, False))

    def check(optimizer: torch.optim.Optimizer, precision: str, clip: float | None) -> None:
        trainer: Any = SimpleNamespace(optimizers=[plain, optimizer], precision=precision)
        refuse_fused_clipping(trainer, clip, "model.gradient_clip_val")

    with pytest.raises(ValueError, match=r"model.gradient_clip_val with precision 16-mixed needs .* fused: false"):
        check(fused, "16-mixed", 1.0)
    check(fused, "bf16-mixed", 1.0)
    check(fused, "16-mixed", None)
    check(plain, "16-mixed", 1.0)


def test_windows_under_a_loss_scaler_are_refused() -> None:
    trainer: Any = SimpleNamespace(precision="16-mixed")
    refuse_scaled_windows(trainer, 1)
    with pytest.raises(ValueError, match=r"accumulate_grad_batches 2 with trainer.precision 16-mixed.*bf16-mixed"):
        refuse_scaled_windows(trainer, 2)


def test_an_argument_that_no_checkpoint_can_name_is_refused_at_once(digits: Digits) -> None:
    with pytest.raises(TypeError, match=r"generator_optimizer=.*cannot be written to a checkpoint"):
        small_cgan(digits, generator_optimizer=lambda p: torch.optim.SGD(p, lr=1.0))


@pytest.mark.parametrize("batch_size", [1, 3, 64, 5000])
def test_any_batch_size_trains_or_says_why_not(batch_size: int, digits: Digits, make_trainer: MakeTrainer) -> None:
    model = DCGAN(
        digits.image_shape,
        digits.cond_spec,
        generator=partial(DCGANGenerator, width=4),
        discriminator=partial(DCGANDiscriminator, width=4, batch_norm=True),
    )
    make_trainer(max_steps=2).fit(model, Digits(batch_size=batch_size))
    assert all(torch.isfinite(p).all() for p in model.parameters())
    if batch_size == 1:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            make_trainer(max_steps=2).fit(small_cgan(digits), Digits(batch_size=1))


def test_no_step_waits_for_hooks_in_which_callbacks_do_nothing(make_trainer: Callable[..., L.Trainer]) -> None:
    class Counts(L.Callback):
        def __init__(self) -> None:
            self.calls: list[str] = []

        def on_before_backward(self, *args: object) -> None:
            self.calls.append("backward")

        def on_train_batch_end(self, *args: object) -> None:
            self.calls.append("batch")

    counts, instance = Counts(), L.Callback()
    instance.on_after_backward = lambda *args: counts.calls.append("after")  # type: ignore[method-assign]
    data = Digits()
    make_trainer(max_steps=2, callbacks=[counts, instance]).fit(small_cgan(data), data)
    assert counts.calls == ["backward", "after", "backward", "after", "batch"] * 2
    assert counts.on_after_backward is instance.on_before_backward is None
