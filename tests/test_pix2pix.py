"""Pix2Pix: its nets, the L1 term, patches as logits, and the whole way on the command line."""

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
from conftest import same_weights
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from condgen.cli import main
from condgen.conditions import Compose, LabelEncoder, MaskEncoder, NoCondition
from condgen.data import BatchLoader, Shapes
from condgen.models import CGAN, AdversarialModel, Pix2Pix
from condgen.nets import Judgement, MLPGenerator, PatchDiscriminator, Pix2PixGenerator
from condgen.objectives import R1, GradientPenalty, LeastSquares, Wasserstein
from condgen.pixels import conditions_to_model, to_model_range
from condgen.seeding import generator
from condgen.types import CondDims, Condition, Encoded, Shape

MakeTrainer = Callable[..., L.Trainer]
ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999))
SEEDS = torch.tensor([5, 6, 7])


def shapes(**kwargs: Any) -> Shapes:
    settings = {"image_size": 16, "conditions": ["source"], "source": "sketch", "batch_size": 8}
    return Shapes(24, 8, 8, **settings | kwargs)


def pix2pix(data: Shapes, **kwargs: Any) -> Pix2Pix:
    settings: dict[str, Any] = {
        "generator": partial(Pix2PixGenerator, width=4, latent_dim=3, dropout=0.0),
        "discriminator": partial(PatchDiscriminator, width=4),
        "generator_optimizer": ADAM,
        "discriminator_optimizer": ADAM,
    }
    return Pix2Pix(data.image_shape, data.cond_spec, **settings | kwargs)


def conds(data: Shapes) -> Condition:
    return {key: value[:3] for key, value in conditions_to_model(data.images("test").all().cond).items()}


# ---------------------------------------------------------------------- nets


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("side", [8, 32, 256])
def test_the_generator_makes_images_of_the_map_s_size(side: int, batch_norm: bool) -> None:
    net = Pix2PixGenerator((3, side, side), CondDims(vector=2, spatial=4), width=2, dropout=0.0, batch_norm=batch_norm)
    z, vector, source = torch.randn(2, 8), torch.randn(2, 2), torch.randn(2, 4, side, side)
    for mode in (False, True):
        image = net.train(mode)(z, Encoded(vector=vector, spatial=source))
        assert image.shape == (2, 3, side, side)
        assert image.abs().max() <= 1
    for other in (
        net(z + 1, Encoded(vector=vector, spatial=source)),
        net(z, Encoded(vector=vector + 1, spatial=source)),
        net(z, Encoded(vector=vector, spatial=source.flip(3))),
    ):
        assert not torch.equal(other, image)
    assert torch.equal(net(z, Encoded(vector=vector, spatial=source)), image)


def test_dropout_is_for_training_alone() -> None:
    net = Pix2PixGenerator((1, 256, 256), CondDims(spatial=1), width=2)
    dropped = [up[-1].p > 0 for up in net.ups]
    assert dropped == [True] * 3 + [False] * 4
    net = Pix2PixGenerator((1, 64, 64), CondDims(spatial=1), width=2)
    z, cond = torch.randn(2, 8), Encoded(spatial=torch.randn(2, 1, 64, 64))
    assert not torch.equal(net.train()(z, cond), net(z, cond))
    assert torch.equal(net.eval()(z, cond), net(z, cond))


def test_the_generator_is_the_published_nest_of_skips() -> None:
    """As in the published code, each block concatenates its input to what the blocks inside it make of it."""
    net = Pix2PixGenerator((2, 32, 32), CondDims(spatial=3), width=4, latent_dim=5).eval()
    source, z = torch.randn(2, 3, 32, 32), torch.randn(2, 5)
    last = len(net.downs) - 1

    def inside(level: int, x: Tensor) -> Tensor:
        skip = net.downs[level](x)
        if level == last:
            return torch.cat([F.relu(skip), z[:, :, None, None]], dim=1)
        deeper = net.ups[last - 1 - level](inside(level + 1, F.leaky_relu(skip, 0.2)))
        return F.relu(torch.cat([deeper, skip], dim=1))

    expected = torch.tanh(net.to_image(inside(0, source)))
    torch.testing.assert_close(net(z, Encoded(spatial=source)), expected, rtol=0, atol=1e-6)
    assert [down[0].out_channels for down in net.downs] == [4, 8, 16, 32, 32]
    with torch.no_grad():
        for up in net.ups:
            up[0].weight.zero_()
    without = net(z, Encoded(spatial=source))
    assert not torch.allclose(net(z, Encoded(spatial=source.flip(2))), without)
    assert torch.equal(net(z + 1, Encoded(spatial=source)), without)


def test_a_judge_without_normalisation_sees_contrast_and_one_that_normalises_images_does_not() -> None:
    image, source = torch.randn(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    for batch_norm, sees in ((None, True), (False, False)):
        torch.manual_seed(0)
        net = PatchDiscriminator((3, 64, 64), CondDims(spatial=1), width=4, batch_norm=batch_norm)
        for module in net.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)
        hidden = [net(factor * image, Encoded(spatial=source)).features for factor in (1000.0, 100.0)]
        assert torch.allclose(*hidden, rtol=1e-2, atol=1e-3) is not sees


@pytest.mark.parametrize(("halvings", "side", "field"), [(1, 64, 16), (2, 64, 34), (3, 128, 70)])
def test_a_patch_is_as_large_as_stated(halvings: int, side: int, field: int) -> None:
    net = PatchDiscriminator((1, side, side), CondDims(spatial=1), width=2, halvings=halvings, batch_norm=True).eval()
    image = torch.randn(1, 1, side, side, requires_grad=True)
    logits = net(image, Encoded(spatial=torch.randn(1, 1, side, side))).logits
    rows = int(logits.shape[1] ** 0.5)
    assert rows == side // 2**halvings - 2
    logits.unflatten(1, (rows, rows))[0, rows // 2, rows // 2].backward()
    assert image.grad is not None
    seen = image.grad[0, 0] != 0
    assert int(seen.any(dim=0).sum()) == int(seen.any(dim=1).sum()) == int(seen.sum() ** 0.5) == field
    assert net.receptive_field == field


def test_patches_are_a_quarter_of_the_image_by_default() -> None:
    fields = [
        PatchDiscriminator((3, side, side), CondDims(spatial=1), width=1).receptive_field for side in (32, 64, 128, 256)
    ]
    assert fields == [16, 16, 34, 70]


def test_the_judge_of_patches_sees_image_map_and_vector() -> None:
    net = PatchDiscriminator((3, 32, 32), CondDims(vector=2, spatial=4), width=4)
    image, vector, source = torch.randn(2, 3, 32, 32), torch.randn(2, 2), torch.randn(2, 4, 32, 32)
    out = net(image, Encoded(vector=vector, spatial=source))
    assert out.features.shape == (2, net.feature_dim)
    assert torch.equal(out.realness, out.logits.mean(dim=1))
    for other in (
        net(image.flip(2), Encoded(vector=vector, spatial=source)),
        net(image, Encoded(vector=vector.roll(1, 1), spatial=source)),
        net(image, Encoded(vector=vector, spatial=source.flip(2))),
    ):
        assert not torch.allclose(other.logits, out.logits)


# ---------------------------------------------------------------------- training


def plain_loop(net_g: nn.Module, net_d: nn.Module, data: Shapes, steps: int, penalised: bool) -> list[list[float]]:
    """Isola et al. 2017, Eq. 4, once more in plain PyTorch, sharing only the names of the random draws."""
    opt_g, opt_d = ADAM(net_g.parameters()), ADAM(net_d.parameters())
    losses, loader = [], iter(BatchLoader(data.images("train"), 8, shuffle=True))
    for k in range(steps):
        raw = next(loader)
        real, cond = to_model_range(raw["pixels"]), conditions_to_model(raw["cond"])
        z_d, z_g = (torch.randn(8, 3, generator=generator(0, 0, k, who)) for who in ("discriminator", "generator"))
        with torch.no_grad():
            fake = net_g(z_d, cond)
        on_real, on_fake = net_d(real, cond).logits, net_d(fake, cond).logits
        loss_d = -(torch.sigmoid(on_real).log().mean() + (1 - torch.sigmoid(on_fake)).log().mean())
        total = loss_d
        if penalised:
            share = torch.rand(8, 1, 1, 1, generator=generator(0, 0, k, "penalty"))
            between = (real + share * (fake - real)).requires_grad_()
            value = net_d(between, cond).logits.mean(dim=1).sum()
            grads = torch.autograd.grad(value, between, create_graph=True)[0]
            total = total + 10 * ((grads.flatten(1).norm(dim=1) - 1) ** 2).mean()
        opt_d.zero_grad()
        total.backward()
        opt_d.step()

        fake = net_g(z_g, cond)
        loss_g, l1 = -torch.sigmoid(net_d(fake, cond).logits).log().mean(), (fake - real).abs().mean()
        opt_g.zero_grad()
        (loss_g + 100 * l1).backward()
        opt_g.step()
        losses.append([loss_d.item(), loss_g.item(), l1.item()])
    return losses


@pytest.mark.parametrize("penalised", [False, True])
def test_training_equals_a_plain_loop(penalised: bool, make_trainer: MakeTrainer) -> None:
    data, seen = shapes(), []

    class Recorder(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
            names = ("discriminator_loss", "generator_loss", "reconstruction_loss")
            seen.append([float(pl_module.losses[f"train/{name}"]) for name in names])

    model = pix2pix(data, penalty=GradientPenalty() if penalised else None)
    net_g, net_d = deepcopy(model.generator), deepcopy(model.discriminator)
    make_trainer(max_steps=3, callbacks=[Recorder()]).fit(model, data)
    expected = plain_loop(net_g, net_d, data, 3, penalised)
    torch.testing.assert_close(torch.tensor(seen), torch.tensor(expected), rtol=0, atol=1e-5)
    for mine, theirs in ((model.generator, net_g), (model.discriminator, net_d)):
        for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_any_adversarial_model_has_the_l1_term(make_trainer: MakeTrainer) -> None:
    data = shapes()
    model = CGAN(data.image_shape, data.cond_spec, encoder=NoCondition, reconstruction_weight=3.0)
    model._trainer = make_trainer()
    raw = data.images("train").take(torch.arange(4))
    batch: Any = {"image": to_model_range(raw.pixels), "cond": conditions_to_model(raw.cond)}
    with torch.no_grad():
        whole = model.generator_loss(batch)
        fake = model.generator(model.draw_prior(4, "generator"), batch["cond"])
    l1 = sum(float((a - b).abs().sum()) for a, b in zip(fake, batch["image"], strict=True)) / fake.numel()
    assert float(model.losses["train/reconstruction_loss"]) == pytest.approx(l1, rel=1e-5)
    assert float(whole) == pytest.approx(float(model.losses["train/generator_loss"]) + 3 * l1, rel=1e-5)


def test_without_judgement_the_generator_learns_by_the_l1_term_alone(make_trainer: MakeTrainer) -> None:
    data = shapes()
    model = pix2pix(data, adversarial_weight=0.0)
    net, judge = deepcopy(model.generator), deepcopy(model.discriminator)
    make_trainer(max_steps=3).fit(model, data)
    optimizer, loader = ADAM(net.parameters()), iter(BatchLoader(data.images("train"), 8, shuffle=True))
    for k in range(3):
        raw = next(loader)
        fake = net(torch.randn(8, 3, generator=generator(0, 0, k, "generator")), conditions_to_model(raw["cond"]))
        optimizer.zero_grad()
        (100 * (fake - to_model_range(raw["pixels"])).abs().mean()).backward()
        optimizer.step()
    for mine, theirs in zip(model.generator.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)
    assert not same_weights(model.discriminator, judge)  # which looks on


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": LeastSquares(), "classifier_weight": 1.0, "penalty": R1()},
        {"loss": Wasserstein(), "penalty": GradientPenalty(), "encoder": MaskEncoder},
        {"encoder": partial(Compose, encoders=[MaskEncoder, LabelEncoder])},
    ],
    ids=["least-squares", "wasserstein", "mask-and-label"],
)
def test_losses_penalties_and_the_classifier_work_on_patches(
    settings: dict[str, Any], make_trainer: MakeTrainer
) -> None:
    data = shapes(conditions=["source", "mask", "label"])
    model = pix2pix(data, **settings)
    make_trainer(max_steps=2).fit(model, data)
    images = model.sample(conds(data), seeds=SEEDS)
    assert images.shape == (3, 3, 16, 16)
    assert torch.isfinite(images).all()


def test_images_and_runs_are_functions_of_their_seeds(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    data = shapes(image_size=64)  # so large that there is dropout

    def train(until: int, seed: int = 0, checkpoint: Path | None = None) -> Pix2Pix:
        L.seed_everything(seed, verbose=False)
        model, trainer = (
            pix2pix(data, generator=partial(Pix2PixGenerator, width=4, latent_dim=3)),
            make_trainer(max_steps=until),
        )
        trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{until}.ckpt")
        return model

    whole = train(5)
    assert not same_weights(whole, train(5, seed=1))
    train(2)
    assert same_weights(train(5, checkpoint=tmp_path / "2.ckpt"), whole)
    cond = conds(data)
    images = whole.sample(cond, seeds=SEEDS)
    alone = whole.sample({key: value[1:2] for key, value in cond.items()}, seeds=SEEDS[1:2])
    assert torch.equal(alone, images[1:2])
    assert not torch.equal(whole.sample(cond, seeds=SEEDS + 10), images)


@pytest.mark.slow
def test_it_learns_what_sketches_say(make_trainer: MakeTrainer) -> None:
    """Inside shapes, whose colours a sketch tells in another way; the grey around them it does not tell."""
    data = Shapes(2000, 8, 64, image_size=16, conditions=["source", "mask"], source="sketch", batch_size=16)
    wide = {"generator": partial(Pix2PixGenerator, width=16), "discriminator": partial(PatchDiscriminator, width=16)}
    adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))
    model = pix2pix(data, **wide, generator_optimizer=adam, discriminator_optimizer=adam, ema_half_life=1000.0)
    test = data.images("test").all()
    cond, real = conditions_to_model(test.cond), to_model_range(test.pixels)
    inside = (test.cond["mask"] > 0).unsqueeze(1).expand_as(real)

    def error() -> float:
        return float((model.sample(cond, seeds=torch.arange(64)) - real)[inside].abs().mean())

    before = error()
    make_trainer(max_steps=400).fit(model, data)
    assert error() < 0.6 * before
    assert error() < float((cond["source"] - real)[inside].abs().mean())


# ---------------------------------------------------------------------- what is refused


class MapJudge(nn.Module):
    """A discriminator whose logits are a map with two axes."""

    feature_dim = 4

    def __init__(self, shape: Shape, dims: CondDims) -> None:
        super().__init__()

    def forward(self, image: Tensor, cond: Encoded) -> Judgement:
        return Judgement(image[:, :1], image.new_zeros(len(image), 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": NoCondition}, "Pix2PixGenerator needs a condition with a map, such as SourceEncoder gives"),
        ({"encoder": MaskEncoder}, "MaskEncoder needs the condition 'mask'; the data offers source"),
        ({"discriminator": partial(PatchDiscriminator, halvings=3)}, "halvings must be from 1 to 2 for 16x16, got 3"),
        ({"discriminator": partial(PatchDiscriminator, halvings=0)}, "halvings must be from 1 to 2 for 16x16, got 0"),
        ({"reconstruction_weight": -1.0}, "reconstruction_weight must be at least 0, got -1.0"),
        (
            {"reconstruction_weight": 0.0, "adversarial_weight": 0.0},
            "adversarial_weight, classifier_weight, reconstruction_weight are all 0: there is nothing to learn by",
        ),
        (
            {"discriminator": MapJudge},
            r"discriminator: MapJudge gives \(2, 1, 16, 16\) and \(2, 4\) for a batch of 2, not \(2, 1\) and \(2, 4\)",
        ),
        ({"discriminator": MLPGenerator}, "discriminator: MLPGenerator states no feature_dim"),
    ],
)
def test_what_makes_no_sense_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pix2pix(shapes(), **settings)


def test_images_that_are_no_power_of_two_are_refused() -> None:
    for net in (Pix2PixGenerator, PatchDiscriminator):
        with pytest.raises(ValueError, match=r"images must be square, of 8, 16, 32, 64 \.\.\. pixels, got 24x24"):
            net((3, 24, 24), CondDims(spatial=1))


# ---------------------------------------------------------------------- the command line

SMALL = ["--model.generator.width", "4", "--model.discriminator.width", "4"]
TINY = ["--data.image_size", "16", "--data.batch_size", "8", "--data.n_train", "32", "--data.n_validation", "8",
        "--data.n_test", "8", "--trainer.accelerator", "cpu", "--trainer.max_steps", "2"]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("model/pix2pix.yaml", SMALL),
        ("model/ddpm.yaml", ["-c", "condition/source.yaml", "--model.net.width", "8", "--model.sampler.steps", "2"]),
    ],
    ids=["pix2pix", "ddpm"],
)
def test_the_whole_way_from_pairs_to_samples(
    model: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["-c", "data/shapes.yaml", "--data.conditions", "[source]", "--data.source", "sketch", *TINY]
    assert main(["fit", "-c", "trainer/default.yaml", *data, "-c", model, *options]) == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert ("train/reconstruction_loss" in (run / "metrics.csv").read_text()) is ("pix2pix" in model)
    obedience = ["--evaluation.obedience", "[condgen.metrics.PairedError]", "--evaluation.n_samples", "8"]
    assert main(["test", "-c", str(run), "--ckpt_path", str(run), "--runs", "tests", *obedience]) == 0
    (scores,) = tmp_path.glob("tests/*/*/metrics.json")
    assert {"psnr", "ssim", "l1"} <= json.loads(scores.read_text())["scores"].keys()
    Image.new("RGB", (20, 30), "red").save(tmp_path / "a.png")
    assert main(["sample", "--ckpt", str(run), "--source", "a.png", "--n", "2", "--out", "made"]) == 0
    assert sorted(path.name for path in tmp_path.glob("made/*")) == ["a-seed=0.png", "a-seed=1.png"]


def test_masks_become_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for part in ("label", "photo"):
        (tmp_path / "pairs" / part).mkdir(parents=True)
        for i in range(12):
            noise = torch.randint(3 if part == "label" else 256, (16, 16), dtype=torch.uint8)
            Image.fromarray(noise.numpy()).save(tmp_path / "pairs" / part / f"{i}.png")
    pairs = ["--data", "PairedFolder", "--data.root", "pairs", "--data.source", "label", "--data.target", "photo"]
    sizes = ["--data.image_size", "16", "--data.batch_size", "4", "--data.num_classes", "3", "--trainer.max_steps", "1"]
    encoder = ["--model.encoder", "condgen.conditions.MaskEncoder", "--trainer.accelerator", "cpu"]
    config = ["-c", "trainer/default.yaml", "-c", "model/pix2pix.yaml"]
    assert main(["fit", *config, *pairs, *sizes, *encoder, *SMALL, "--evaluation.extractor", "null"]) == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert main(["sample", "--ckpt", str(run), "--mask", "pairs/label/0.png", "--n", "1", "--out", "a.png"]) == 0


def test_it_is_an_adversarial_model_like_others() -> None:
    assert issubclass(Pix2Pix, AdversarialModel)
    data = shapes()
    assert Pix2Pix(data.image_shape, data.cond_spec).reconstruction_weight == 100.0
    assert pix2pix(data, reconstruction_weight=1.0).reconstruction_weight == 1.0
