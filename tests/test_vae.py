"""Variational autoencoders: nets, training, samples, latent variables, and the scores of their likelihood."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import small_cgan
from PIL import Image
from torch import nn

from condgen.callbacks import EvaluateLikelihood, EvaluateSamples
from condgen.checkpoints import load_model
from condgen.conditions import LabelEncoder, NoCondition
from condgen.data import Digits
from condgen.metrics import DigitsExtractor
from condgen.models import VAE, BoundsLikelihood, DecoderSampler, Encodes, LinearDecay, Reconstructs
from condgen.models.vae import keyed_noise
from condgen.nets import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder, UNet
from condgen.objectives import Bernoulli, DiscretisedLogistic, Gaussian, LearnedGaussian, Likelihood
from condgen.pixels import to_model_range
from condgen.processes import DDIM
from condgen.seeding import generator
from condgen.types import Batch, CondDims, Encoded

MakeTrainer = Callable[..., L.Trainer]
SHAPE = (1, 8, 8)
SMALL = {
    "inference": partial(MLPEncoder, latent_dim=4, hidden=(32,)),
    "decoder": partial(MLPDecoder, latent_dim=4, hidden=(32,)),
}
LIKELIHOODS = [Bernoulli(), Gaussian(), LearnedGaussian(), DiscretisedLogistic()]


def small_vae(digits: Digits, **kwargs: Any) -> VAE:
    return VAE(digits.image_shape, digits.cond_spec, **SMALL | kwargs)


def first_images(digits: Digits, count: int = 20) -> Batch:
    rows = digits.images("test").take(torch.arange(count))
    return {"image": to_model_range(rows.pixels), "cond": rows.cond, "index": torch.arange(count)}


@pytest.fixture(scope="module")
def trained_once(digits: Digits) -> VAE:
    torch.manual_seed(0)
    model = small_vae(digits, beta=0.2, optimizer=partial(torch.optim.Adam, lr=5e-3), ema_half_life=500.0)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "limit_val_batches": 0}
    L.Trainer(accelerator="cpu", max_steps=200, enable_checkpointing=False, **quiet).fit(model, digits)
    return model


@pytest.fixture
def trained(trained_once: VAE) -> VAE:
    return deepcopy(trained_once)


# ---------------------------------------------------------------------- nets


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 32, 32), (3, 32, 32), (1, 28, 28), (3, 12, 20)])
@pytest.mark.parametrize("dims", [CondDims(vector=5), CondDims()])
def test_conv_nets_fit_each_other_and_use_the_condition(shape: tuple[int, int, int], dims: CondDims) -> None:
    inference = ConvEncoder(shape, dims, latent_dim=3, width=4)
    decoder = ConvDecoder((2 * shape[0], *shape[1:]), dims, latent_dim=3, width=4).eval()
    cond = [Encoded(vector=torch.eye(5)[k].repeat(2, 1)) if dims.vector else Encoded() for k in (0, 1)]
    image = torch.rand(2, *shape).to(memory_format=torch.channels_last)
    mu, logvar = inference.to(memory_format=torch.channels_last)(image, cond[0])
    assert mu.shape == logvar.shape == (2, 3)
    assert decoder(mu, cond[0]).shape == (2, 2 * shape[0], *shape[1:])
    for net, x in ((inference, image), (decoder, mu)):
        first, second = (torch.cat([*net(x, c)]) for c in cond)
        assert torch.equal(first, second) is (not dims.vector)


@pytest.mark.parametrize("net", [ConvEncoder, ConvDecoder, MLPEncoder, MLPDecoder])
def test_nets_refuse_what_they_cannot_use(net: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="latent_dim must be at least 1, got 0"):
        net(SHAPE, CondDims(), latent_dim=0)
    with pytest.raises(ValueError, match="cannot use the condition's 'tokens' route"):
        net(SHAPE, CondDims(tokens=3))


@pytest.mark.parametrize("size", [(7, 8), (4, 4), (9, 9), (8, 5)])
def test_odd_sizes_are_refused_with_those_that_work(size: tuple[int, int]) -> None:
    for net in (ConvEncoder, ConvDecoder):
        with pytest.raises(ValueError, match=rf"{net.__name__} takes .* best 8, 16, 32.* got {size[0]}x{size[1]}"):
            net((1, *size), CondDims())


# ---------------------------------------------------------------------- training


def plain_steps(model: VAE, digits: Digits, steps: int) -> list[float]:
    """The algorithm once more in plain PyTorch, for SGD and a Bernoulli likelihood, sharing the names of the draws."""
    nets, losses = model.nets, []
    optimizer = torch.optim.SGD(nets.parameters(), lr=1e-3)
    loader = iter(digits.train_dataloader())
    for k in range(steps):
        raw = next(loader)
        x, cond = to_model_range(raw["pixels"]), raw["cond"]
        mu, logvar = nets.inference(x, cond)
        z = mu + (0.5 * logvar).exp() * torch.randn(64, 4, generator=generator(0, 0, k, "posterior"))
        white = nets.decoder(z, cond).sigmoid()
        target = (x + 1) / 2
        reconstruction = -(target * white.log() + (1 - target) * (1 - white).log()).sum(dim=(1, 2, 3)).mean()
        kl = (0.5 * (mu**2 + logvar.exp() - 1 - logvar)).sum(dim=1).mean()
        losses.append(float((reconstruction + 2.0 * min(1.0, 64 * k / 128) * kl).detach()))
        optimizer.zero_grad()
        (reconstruction + 2.0 * min(1.0, 64 * k / 128) * kl).backward()
        optimizer.step()
    return losses


def test_training_equals_a_plain_loop(digits: Digits, make_trainer: MakeTrainer) -> None:
    seen: list[float] = []

    class Spy(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
            seen.append(float(pl_module.losses["train/loss"]))
            assert set(pl_module.losses) == {"train/loss", "train/reconstruction", "train/kl"}

    settings: dict[str, Any] = {"beta": 2.0, "kl_warmup": 128, "optimizer": partial(torch.optim.SGD, lr=1e-3)}
    model, twin = small_vae(digits, **settings), small_vae(digits, **settings)
    twin.load_state_dict(model.state_dict())
    make_trainer(max_steps=4, callbacks=[Spy()]).fit(model, digits)
    assert seen == pytest.approx(plain_steps(twin, digits, 4), rel=1e-5)
    for mine, theirs in zip(model.nets.parameters(), twin.nets.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("conv", [False, True], ids=["mlp", "conv"])
def test_every_likelihood_learns(likelihood: Likelihood, conv: bool, digits: Digits, make_trainer: MakeTrainer) -> None:
    nets = {"inference": partial(ConvEncoder, width=8), "decoder": partial(ConvDecoder, width=8)} if conv else {}
    model = small_vae(digits, likelihood=likelihood, ema_half_life=None, **nets)
    before = model.bounds(first_images(digits), 1)["elbo"].mean()
    make_trainer(max_steps=40).fit(model, digits)
    assert model.bounds(first_images(digits), 1)["elbo"].mean() > before + 5.0
    images = model.sample({"label": torch.arange(10)}, seeds=torch.arange(10))
    assert images.shape == (10, *SHAPE)
    assert images.abs().max() <= 1.0


def test_half_precision_computes_the_loss_in_full(digits: Digits, make_trainer: MakeTrainer) -> None:
    model = small_vae(digits, likelihood=DiscretisedLogistic())
    make_trainer(max_steps=2, precision="bf16-mixed").fit(model, digits)
    assert {value.dtype for value in model.losses.values()} == {torch.float32}


# ---------------------------------------------------------------------- samples


def test_samples_depend_on_seed_and_condition_alone(trained: VAE) -> None:
    seeds, label = torch.arange(10), torch.arange(10)
    for sampler in (DecoderSampler(), DecoderSampler(draw=True)):
        trained.sampler = sampler
        images = trained.sample({"label": label}, seeds=seeds)
        assert torch.equal(images, trained.sample({"label": label}, seeds=seeds))
        assert torch.equal(images[4:5], trained.sample({"label": label[4:5]}, seeds=seeds[4:5]))
        assert torch.equal(images.flip(0), trained.sample({"label": label.flip(0)}, seeds=seeds.flip(0)))
        others = trained.sample({"label": (label + 1) % 10}, seeds=seeds)
        assert (others - images).abs().flatten(1).amax(dim=1).min() > 0.05
        assert not torch.equal(images, trained.sample({"label": label}, seeds=seeds + 1))


def test_a_draw_of_a_bernoulli_is_black_and_white_and_has_the_mean(trained: VAE) -> None:
    z, cond = trained.prior(torch.tensor([3])), {"label": torch.tensor([3])}
    mean = trained.sample(cond, noise=z)
    trained.sampler = DecoderSampler(draw=True)
    draw = trained.sample(cond, noise=z)
    assert set(draw.unique().tolist()) == {-1.0, 1.0}
    assert float((draw - mean).mean()) == pytest.approx(0.0, abs=0.3)


def test_a_checkpoint_gives_the_same_images_and_its_sampler(
    digits: Digits, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    model = small_vae(
        digits,
        encoder=partial(LabelEncoder, embedding_dim=3),
        likelihood=LearnedGaussian(min_std=0.2),
        sampler=DecoderSampler(draw=True),
        schedule=LinearDecay(start=10, stop=1000),
        free_bits=0.1,
    )
    trainer = make_trainer(max_steps=3)
    trainer.fit(model, digits)
    trainer.save_checkpoint(tmp_path / "file.ckpt")
    loaded = load_model(tmp_path / "file.ckpt")
    assert isinstance(loaded, VAE)
    assert (loaded.likelihood, loaded.sampler) == (LearnedGaussian(min_std=0.2), DecoderSampler(draw=True))
    assert loaded.objective == model.objective
    seeds, cond = torch.arange(4), {"label": torch.tensor([0, 3, 5, 9])}
    assert torch.equal(loaded.sample(cond, seeds=seeds), model.sample(cond, seeds=seeds))
    assert torch.equal(loaded.reconstruct(first_images(digits)), model.reconstruct(first_images(digits)))


def test_both_nets_are_averaged(trained: VAE, digits: Digits) -> None:
    averaged = trained.encode(first_images(digits))[0], trained.reconstruct(first_images(digits))
    trained.raw = True
    raw = trained.encode(first_images(digits))[0], trained.reconstruct(first_images(digits))
    assert not any(torch.equal(a, b) for a, b in zip(averaged, raw, strict=True))


def test_without_a_condition_it_is_a_plain_vae(digits: Digits) -> None:
    model = small_vae(digits, encoder=NoCondition)
    assert model.condition_keys == ()
    assert model.sample({}, seeds=torch.arange(3)).shape == (3, *SHAPE)


# ---------------------------------------------------------------------- latent variables


def test_it_encodes_reconstructs_and_interpolates(trained: VAE, digits: Digits) -> None:
    batch = first_images(digits)
    mu, logvar = trained.encode(batch)
    assert mu.shape == logvar.shape == (20, 4)
    images = trained.reconstruct(batch)
    assert images.shape == (20, *SHAPE)
    shuffled = trained.reconstruct({**batch, "image": batch["image"].roll(1, 0)})
    assert (images - batch["image"]).square().mean() < 0.75 * (shuffled - batch["image"]).square().mean()
    assert trained.nets.training

    end: Batch = {"image": batch["image"].roll(1, 0), "cond": {"label": batch["cond"]["label"].roll(1, 0)}}
    path = trained.interpolate(batch, end, steps=5)
    assert path.shape == (20, 5, *SHAPE)
    torch.testing.assert_close(path[:, 0], images)
    halfway = 0.5 * (mu + trained.encode(end)[0])
    torch.testing.assert_close(path[:, 2], trained.sample(batch["cond"], noise=halfway))


def test_the_protocols_are_kept(digits: Digits) -> None:
    for protocol in (Reconstructs, Encodes, BoundsLikelihood):
        assert isinstance(small_vae(digits), protocol)
        assert not isinstance(small_cgan(digits), protocol)


# ---------------------------------------------------------------------- bounds


def test_bounds_are_ordered_repeatable_and_of_each_image_alone(trained: VAE, digits: Digits) -> None:
    batch = first_images(digits)
    one, many = trained.bounds(batch, 1), trained.bounds(batch, 40)
    torch.testing.assert_close(one["elbo"], one["iwae"])
    assert (many["iwae"] > many["elbo"]).all()
    assert many["iwae"].mean() > one["iwae"].mean()
    assert torch.equal(trained.bounds(batch, 40)["iwae"], many["iwae"])
    part: Batch = {"image": batch["image"][7:9], "cond": {"label": batch["cond"]["label"][7:9]}}
    alone = trained.bounds({**part, "index": torch.tensor([7, 8])}, 40)
    torch.testing.assert_close(alone["iwae"], many["iwae"][7:9], rtol=1e-5, atol=1e-4)
    assert not torch.allclose(trained.bounds(part, 40)["iwae"], many["iwae"][7:9])
    assert trained.nets.training


def test_bounds_are_those_of_the_definition(digits: Digits) -> None:
    model = small_vae(digits, likelihood=Gaussian(1.0), ema_half_life=None).eval()
    batch = first_images(digits, 4)
    found = model.bounds(batch, 2000)
    mu, logvar = model.encode(batch)
    std = (0.5 * logvar).exp()
    posterior, prior = torch.distributions.Normal(mu, std), torch.distributions.Normal(0.0, 1.0)
    z = posterior.sample((2000,))
    label = batch["cond"]["label"].repeat(2000)
    mean = model.nets.decoder(z.flatten(0, 1), {"label": label}).detach().tanh().unflatten(0, (2000, 4))
    log_prob = torch.distributions.Normal(mean, 1.0).log_prob(batch["image"]).sum(dim=(2, 3, 4))
    kl = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    torch.testing.assert_close(found["elbo"], log_prob.mean(dim=0) - kl, atol=0.15, rtol=0)
    log_weights = log_prob + (prior.log_prob(z) - posterior.log_prob(z)).sum(dim=2)
    iwae = log_weights.logsumexp(dim=0) - torch.tensor(2000.0).log()
    torch.testing.assert_close(found["iwae"], iwae, atol=0.15, rtol=0)


def test_a_bernoulli_is_measured_on_binarised_images(trained: VAE, digits: Digits) -> None:
    batch = first_images(digits)
    grey: Batch = {**batch, "image": torch.zeros_like(batch["image"]), "cond": {"label": torch.full((20,), 3)}}
    black_or_white = Bernoulli().observe(grey["image"], keyed_noise(batch["index"].tolist(), "observe", (1, 8, 8)))
    assert black_or_white.flatten(1).unique(dim=0).shape[0] == 20  # each image has its own binarisation
    found, expected = trained.bounds(grey, 3), trained.bounds({**grey, "image": black_or_white}, 3)
    assert torch.equal(found["iwae"], expected["iwae"])
    assert found["iwae"].std() > 0.5


# ---------------------------------------------------------------------- scores


def test_scores_of_both_callbacks_share_one_file(make_trainer: MakeTrainer, tmp_path: Path, trained: VAE) -> None:
    data = Digits(eval_batch_size=100)
    rows = []
    for order in (1, -1):
        likelihood = EvaluateLikelihood(samples=5, n_images=150, shown=6)
        callbacks = [EvaluateSamples(DigitsExtractor(), n_samples=50), likelihood][::order]
        trainer = make_trainer(callbacks=callbacks, limit_val_batches=1.0, default_root_dir=tmp_path / str(order))
        trainer.test(trained, data, verbose=False)
        written = json.loads((tmp_path / str(order) / "metrics.json").read_text())
        assert {"fd_digits", "coverage", "elbo", "iwae_5", "reconstruction_mse", "reconstruction_psnr"} <= set(
            written["scores"]
        )
        assert {"n_samples", "extractor", "weights_sha256"} <= set(written["protocol"])
        card = written["protocol"]["likelihood"]
        assert (card["n_images"], card["samples"]) == (150, 5)
        rows.append(written["scores"])
        for name in likelihood.result["scores"]:
            assert float(trainer.callback_metrics[f"test/{name}"]) == pytest.approx(rows[-1][name]["value"], rel=1e-5)
    assert rows[0] == rows[1]
    scores = rows[0]
    assert scores["elbo"]["unit"] == "nats on binarised data"
    assert scores["elbo"]["better"] == "higher"
    assert scores["elbo"]["value"] < scores["iwae_5"]["value"] < 0
    batch = first_images(data, 150)
    assert scores["iwae_5"]["value"] == pytest.approx(float(trained.bounds(batch, 5)["iwae"].mean()), rel=1e-4)
    mse = float((trained.reconstruct(batch) - batch["image"]).mul(127.5).square().mean())
    assert scores["reconstruction_mse"]["value"] == pytest.approx(mse, rel=0.01)
    with Image.open(tmp_path / "1" / "reconstructions.png") as picture:
        assert picture.size == (6 * 50 + 2, 2 * 50 + 2)

    trainer.validate(trained, data, verbose=False)
    again = json.loads((tmp_path / "-1" / "metrics.json").read_text())
    assert again["protocol"]["split"] == "validation"
    assert again["scores"].keys() == scores.keys()
    assert again["scores"]["elbo"] != scores["elbo"]


def test_rows_of_other_weights_do_not_stay(make_trainer: MakeTrainer, tmp_path: Path, digits: Digits) -> None:
    make_trainer(callbacks=[EvaluateLikelihood(2, 20)]).test(small_vae(digits), digits, verbose=False)
    samples = EvaluateSamples(DigitsExtractor(), n_samples=20)
    make_trainer(callbacks=[samples]).test(small_vae(digits), digits, verbose=False)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert "elbo" not in written["scores"]
    assert "likelihood" not in written["protocol"]


def test_the_bound_is_logged_during_fit(make_trainer: MakeTrainer, digits: Digits) -> None:
    trainer = make_trainer(
        callbacks=[EvaluateLikelihood(n_images=50)], max_steps=4, limit_val_batches=1.0, val_check_interval=2
    )
    model = small_vae(digits, likelihood=DiscretisedLogistic(), ema_half_life=None)
    trainer.fit(model, digits)
    rows = digits.images("validation").take(torch.arange(50))
    bound = model.bounds({"image": to_model_range(rows.pixels), "cond": rows.cond}, 1)["elbo"].mean()
    bits = -float(bound) / (64 * 0.6931472)
    assert float(trainer.callback_metrics["val/elbo_bits_per_dim"]) == pytest.approx(bits, rel=1e-5)
    assert "val/elbo" not in trainer.callback_metrics


def test_bits_are_better_low(make_trainer: MakeTrainer, digits: Digits) -> None:
    callback = EvaluateLikelihood(samples=3, n_images=30)
    make_trainer(callbacks=[callback]).test(small_vae(digits, likelihood=DiscretisedLogistic()), digits, verbose=False)
    scores = callback.result["scores"]
    assert scores["elbo_bits_per_dim"]["better"] == scores["iwae_3_bits_per_dim"]["better"] == "lower"
    assert scores["iwae_3_bits_per_dim"]["value"] < scores["elbo_bits_per_dim"]["value"]
    assert scores["elbo_bits_per_dim"]["unit"] == "bits/dim"


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"beta": -1.0}, "beta must be a finite number >= 0, got -1.0"),
        ({"kl_warmup": -5}, "kl_warmup must be a finite number >= 0, got -5"),
        ({"free_bits": -0.1}, "free_bits must be a finite number >= 0, got -0.1"),
        (
            {"decoder": MLPEncoder},
            r"decoder: MLPEncoder cannot be applied to \(z, condition\): ",
        ),
        ({"inference": MLPDecoder}, r"inference: MLPDecoder cannot be applied to \(image, condition\): "),
        ({"decoder": partial(UNet, attention=())}, "decoder: UNet states no latent_dim, which this role needs"),
        ({"sampler": DDIM()}, "sampler must be a DecoderSampler, got DDIM"),
        ({"decoder": partial(MLPDecoder, latent_dim=5)}, "got 4 in the inference net and 5 in the decoder"),
        ({"inference": partial(MLPEncoder, latent_dim=0)}, "latent_dim must be at least 1, got 0"),
        ({"sample_chunk": 0}, "sample_chunk must be at least 1"),
    ],
)
def test_senseless_arguments_are_one_line(kwargs: dict[str, Any], message: str, digits: Digits) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        small_vae(digits, **kwargs)
    assert "\n" not in str(caught.value)


def test_senseless_questions_are_one_line(digits: Digits) -> None:
    model, batch = small_vae(digits), first_images(digits)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        model.bounds(batch, 0)
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        model.interpolate(batch, batch, steps=1)
    with pytest.raises(ValueError, match="needs pairs, got 20 and 3 images"):
        model.interpolate(batch, first_images(digits, 3), steps=2)
    with pytest.raises(ValueError, match="in \\[-1, 1\\]"):
        model.encode({**batch, "image": batch["image"] * 2})
    with pytest.raises(ValueError, match="conditions must have one row per image: 3 for 20 images"):
        model.encode({**batch, "cond": {"label": torch.arange(3)}})
    with pytest.raises(ValueError, match="index must have one row per image: 3 for 20 images"):
        model.bounds({**batch, "index": torch.arange(3)})
    with pytest.raises(ValueError, match="condition 'label' is missing"):
        model.reconstruct({**batch, "cond": {}})
    with pytest.raises(ValueError, match="n_images must be at least 1, got 0"):
        EvaluateLikelihood(n_images=0)
