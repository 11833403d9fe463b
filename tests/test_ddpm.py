"""The diffusion family: training, guidance, and samplers that are chosen after training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import same_weights
from PIL import Image
from torch import Tensor, nn

from condgen.checkpoints import load_model
from condgen.cli import main
from condgen.conditions import LabelEncoder, NoCondition
from condgen.data import Digits
from condgen.models import DDPM
from condgen.nets import MLPGenerator, UNet
from condgen.objectives import MinSNR, Prediction, PredictNoise, PredictV, PredictX0, SimpleX0
from condgen.pixels import to_uint8
from condgen.processes import DDIM, Ancestral, CosineSchedule, DiffusionSampler, DPMSolver, LinearSchedule
from condgen.types import CondDims, Encoded, Shape

SAMPLERS = [DDIM(5), DDIM(5, eta=1.0), Ancestral(5), DPMSolver(5), DPMSolver(5, sde=True), DDIM(5, guidance=2.0)]
SMALL = partial(UNet, width=8, multipliers=(1, 2), blocks=1, attention=(4,))
LABELS = {"label": torch.tensor([3, 7, 3])}
SEEDS = torch.tensor([5, 6, 7])


def small_ddpm(digits: Digits, **kwargs: Any) -> DDPM:
    return DDPM(digits.image_shape, digits.cond_spec, **{"net": SMALL, "num_steps": 50, "sampler": DDIM(5)} | kwargs)


def stirred(model: DDPM) -> DDPM:
    """Move all weights, for a new U-Net's output is zero."""
    with torch.no_grad():
        for parameter in (*model.denoiser.parameters(), *model.sampling_net.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


@pytest.mark.parametrize("prediction", [PredictNoise(), PredictX0(), PredictV()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("schedule", [LinearSchedule(), CosineSchedule()], ids=lambda p: type(p).__name__)
def test_a_few_steps_lower_the_loss(
    prediction: Prediction, schedule: Any, digits: Digits, make_trainer: Callable[..., L.Trainer]
) -> None:
    model = small_ddpm(digits, prediction=prediction, weighting=MinSNR(), noise_schedule=schedule)
    losses: list[float] = []

    class Watch(L.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            losses.append(float(model.losses["train/loss"]))

    make_trainer(max_steps=60, callbacks=[Watch()], gradient_clip_val=1.0).fit(model, Digits(batch_size=64))
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert model.images_seen == 60 * 64 == model.images_at_ema_update
    assert not same_weights(model.denoiser, model.sampling_net)
    images = model.sample(LABELS, seeds=SEEDS)
    assert torch.isfinite(images).all()
    assert images.abs().max() <= 1


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_an_image_depends_on_its_seed_and_condition_alone(sampler: DiffusionSampler, digits: Digits) -> None:
    model = stirred(small_ddpm(digits, sampler=sampler, sample_chunk=4))
    images = model.sample(LABELS, seeds=SEEDS)
    assert images.shape == (3, 1, 8, 8)
    assert torch.equal(model.sample({"label": torch.tensor([7])}, seeds=torch.tensor([6])), images[1:2])
    many = model.sample({"label": torch.arange(10)}, seeds=torch.arange(10))
    assert torch.equal(model.sample({"label": torch.arange(10).flip(0)}, seeds=torch.arange(10).flip(0)), many.flip(0))
    assert not torch.equal(model.sample({"label": torch.tensor([2, 7, 3])}, seeds=SEEDS)[0], images[0])
    assert torch.equal(model.sample(LABELS, noise=model.prior(SEEDS)), images)


def test_guidance_mixes_the_conditional_and_the_unconditional_estimate(digits: Digits) -> None:
    model = stirred(small_ddpm(digits))
    x, cond = torch.randn(3, 1, 8, 8), LABELS
    level = model.process.level(30)

    def estimate(scale: float) -> Tensor:
        model.sampler = DDIM(5, guidance=scale, clip=False)
        with torch.no_grad():
            return model.denoise_under(cond, 3)(x, level)

    conditional, unconditional = estimate(1.0), estimate(0.0)
    assert torch.allclose(estimate(2.5), unconditional + 2.5 * (conditional - unconditional), atol=1e-4)
    assert not torch.allclose(conditional, unconditional)
    t = torch.full((3,), model.time(30))
    drop = torch.ones(3, dtype=torch.bool)
    with torch.no_grad():
        for expected, dropped in ((conditional, None), (unconditional, drop)):
            out = model.sampling_net(x, t, cond, dropped)
            assert torch.allclose(model.prediction.x_0(out, x, level.alpha, level.sigma), expected, atol=1e-5)


def test_guidance_in_an_interval_leaves_the_rest_conditional(digits: Digits) -> None:
    model = stirred(small_ddpm(digits))
    x = torch.randn(3, 1, 8, 8)

    def estimate(t: int, **settings: float) -> Tensor:
        model.sampler = DDIM(5, **settings)
        with torch.no_grad():
            return model.denoise_under(LABELS, 3)(x, model.process.level(t))

    for t, inside in ((10, False), (25, True), (39, True), (40, False)):
        partly = estimate(t, guidance=3.0, guidance_from=0.5, guidance_to=0.8)
        assert torch.equal(partly, estimate(t, guidance=3.0)) is inside
        assert torch.equal(partly, estimate(t)) is not inside
        nothing = estimate(t, guidance=0.0, guidance_from=0.5, guidance_to=0.8)  # an interval is for scales above 1
        assert torch.equal(nothing, estimate(t, guidance=0.0))


def test_conditions_are_dropped_per_sample_at_the_given_rate(digits: Digits, make_trainer: Any) -> None:
    model = small_ddpm(digits, condition_dropout=0.25)
    model._trainer = make_trainer()
    drops = []
    for model.batches_seen in range(100):
        drops.append(model.draw_drops(64))
    drawn = torch.stack(drops).float()
    assert abs(drawn.mean() - 0.25) < 4 * (0.25 * 0.75 / 6400) ** 0.5
    assert (drawn.sum(dim=1) < 64).all()
    assert (drawn.sum(dim=1) > 0).all()


def test_times_cover_the_schedule_evenly(digits: Digits, make_trainer: Any) -> None:
    model = small_ddpm(digits)
    model._trainer = make_trainer()
    for model.batches_seen in range(5):
        t = model.draw_times(50)
        assert t.sort().values.tolist() == list(range(50))


def test_the_net_sees_x_t_time_and_condition(digits: Digits, make_trainer: Callable[..., L.Trainer]) -> None:
    seen: list[tuple[Tensor, Tensor, Encoded]] = []

    class Probe(nn.Module):
        def __init__(self, shape: Shape, dims: CondDims) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor, t: Tensor, cond: Encoded) -> Tensor:
            seen.append((x, t, cond))
            return self.weight * x

    model = small_ddpm(digits, net=Probe, condition_dropout=0.5)
    seen.clear()  # building it, the model tried the net
    make_trainer(max_steps=1).fit(model, Digits(batch_size=100))
    ((x_t, t, cond),) = seen
    assert (t >= 0).all()
    assert (t < 1000).all()
    assert cond.vector is not None
    assert 20 < int((cond.vector.sum(dim=1) == 0).sum()) < 80
    late = x_t[t > 900]
    assert abs(float(late.std()) - 1) < 0.1


def test_a_checkpoint_keeps_the_sampler_apart(
    digits: Digits, make_trainer: Callable[..., L.Trainer], tmp_path: Any
) -> None:
    model = small_ddpm(digits, num_steps=20, sampler=DPMSolver(7, guidance=1.5), sample_chunk=8)
    trainer = make_trainer(max_steps=2)
    trainer.fit(model, Digits(batch_size=64))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert content["condgen"]["sampler"] == {
        "chunk": 8,
        "class_path": "condgen.processes.DPMSolver",
        "init_args": {
            "steps": 7,
            "guidance": 1.5,
            "guidance_from": 0.0,
            "guidance_to": 1.0,
            "clip": True,
            "sde": False,
        },
    }
    assert not {"sampler", "sample_chunk"} & content["hyper_parameters"].keys()
    loaded = load_model(tmp_path / "a.ckpt")
    assert loaded.sampler == model.sampler
    assert torch.equal(loaded.sample(LABELS, seeds=SEEDS), model.sample(LABELS, seeds=SEEDS))
    loaded.sampler = Ancestral(20)
    assert torch.isfinite(loaded.sample(LABELS, seeds=SEEDS)).all()


def test_an_unconditional_model_samples_by_seeds_alone(digits: Digits) -> None:
    model = small_ddpm(digits, encoder=NoCondition, condition_dropout=0.0)
    assert model.sample({}, seeds=SEEDS).shape == (3, 1, 8, 8)


def test_training_in_bfloat16_stays_finite(digits: Digits, make_trainer: Callable[..., L.Trainer]) -> None:
    model = small_ddpm(digits)
    make_trainer(max_steps=3, precision="bf16-mixed", gradient_clip_val=1.0).fit(model, Digits(batch_size=64))
    assert torch.isfinite(model.sample(LABELS, seeds=SEEDS)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 1}, "num_steps, the length of the diffusion, must be at least 2, got 1"),
        ({"sampler": DDIM(51)}, "at most the 50 steps of the diffusion, got steps=51"),
        ({"condition_dropout": 1.0}, r"condition_dropout must be in \[0, 1\), got 1.0"),
        ({"condition_dropout": 0.0, "sampler": DDIM(5, guidance=2.0)}, "needs a model trained with condition_dropout"),
        ({"sampler": "DDIM"}, "sampler must be one of condgen.processes, got str"),
        (
            {"encoder": NoCondition, "sampler": DDIM(5, guidance=2.0)},
            "guidance=2 needs a condition; this model has none",
        ),
        (
            {"prediction": PredictNoise(), "weighting": SimpleX0(), "num_steps": 1000},
            "SimpleX0 with PredictNoise gives single times 998 times the mean weight; use Simple or MinSNR",
        ),
        ({"net": MLPGenerator}, r"net: MLPGenerator cannot be applied to \(x_t, t, condition\)"),
        ({"net": partial(UNet, multipliers=(1, 2, 2, 2, 2))}, "takes sides divisible by 16, got 8x8"),
        (
            {"net": partial(UNet, multipliers=(1, 2), attention=(16,))},
            "attention at height 16: the feature maps have 8, 4",
        ),
        ({"net": partial(UNet, width=6, multipliers=(1,), attention=())}, "width must be divisible by 4, got 6"),
        ({"net": partial(UNet, multipliers=(1, 2), attention=(), blocks=0)}, "blocks must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_named(digits: Digits, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_ddpm(digits, **settings)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 24), (1, 28, 28)])
@pytest.mark.parametrize("patch", [1, 2])
def test_the_unet_keeps_the_shape_and_uses_its_inputs(shape: Shape, patch: int) -> None:
    side = shape[1] // patch // 2
    net = UNet(shape, CondDims(vector=5), width=8, multipliers=(1, 2), blocks=1, attention=(side,), patch=patch)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    x, t, vector = torch.randn(2, *shape), torch.tensor([10.0, 900.0]), torch.randn(2, 5)
    out = net(x, t, Encoded(vector=vector))
    assert out.shape == x.shape
    assert not torch.allclose(net(x, t.flip(0), Encoded(vector=vector)), out)
    assert not torch.allclose(net(x, t, Encoded(vector=vector + 1)), out)
    swapped = net.to(memory_format=torch.channels_last)(x, t, Encoded(vector=vector))
    assert torch.allclose(swapped, out, atol=1e-4)


def test_a_new_unet_says_nothing_yet() -> None:
    net = UNet((1, 8, 8), CondDims(vector=3), width=8, multipliers=(1, 2), blocks=1, attention=())
    out = net(torch.randn(2, 1, 8, 8), torch.tensor([1.0, 2.0]), Encoded(vector=torch.randn(2, 3)))
    assert torch.equal(out, torch.zeros_like(out))


@pytest.mark.parametrize(("side", "lowest"), [(8, 4), (32, 16)])
def test_attention_is_at_the_lowest_maps_unless_named(side: int, lowest: int) -> None:
    one, other = (
        UNet((1, side, side), CondDims(), width=8, multipliers=(1, 2), attention=heights)
        for heights in (None, (lowest,))
    )
    assert [name for name, _ in one.named_parameters()] == [name for name, _ in other.named_parameters()]
    assert any("attention" in name for name, _ in one.named_parameters())


def test_a_learned_null_condition_serves_guidance(digits: Digits) -> None:
    model = stirred(small_ddpm(digits, encoder=partial(LabelEncoder, embedding_dim=6), sampler=DDIM(5, guidance=3.0)))
    assert torch.isfinite(model.sample(LABELS, seeds=SEEDS)).all()


# ---------------------------------------------------------------------- the command line


@pytest.fixture
def checkpoint(digits: Digits, make_trainer: Callable[..., L.Trainer], tmp_path: Path) -> str:
    model = small_ddpm(digits, sampler=DPMSolver(3, guidance=2.0))
    trainer = make_trainer(max_steps=2)
    trainer.fit(model, Digits(batch_size=64))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    return str(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--steps", "4"], DPMSolver(4, guidance=2.0)),
        (["--guidance", "2e0"], DPMSolver(3, guidance=2.0)),
        (["--sde", "--steps=4"], DPMSolver(4, guidance=2.0, sde=True)),
        (["--sampler", "DDIM", "--eta", "1", "--guidance", "0"], DDIM(3, guidance=0.0, eta=1.0)),
        (["--sampler", "Ancestral", "--steps", "6"], Ancestral(6, guidance=2.0)),
    ],
)
def test_any_sampler_on_any_checkpoint(
    options: list[str], expected: DiffusionSampler, checkpoint: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main(["sample", "--ckpt", checkpoint, "--label", "3", "--seeds", "5", "--out", str(out), *options]) == 0
    model = load_model(checkpoint)
    model.sampler = expected
    image = to_uint8(model.sample({"label": torch.tensor([3])}, seeds=torch.tensor([5])))
    with Image.open(out / "label=3-seed=5.png") as picture:
        assert torch.equal(torch.tensor(list(picture.getdata())).view(8, 8), image[0, 0].long())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sampler", "DPMSolve"], "no sampler 'DPMSolve', did you mean 'DPMSolver'?; there are Ancestral, DDIM"),
        (["--step", "5"], "no option --step, did you mean '--steps'?"),
        (["--steps", "five"], "--steps must be int, got 'five'"),
        (["--steps", "51"], "a sampler takes at most the 50 steps of the diffusion, got steps=51"),
        (["--guidance", "["], "--guidance must be float, got '['"),
        (["--sde", "maybe"], "--sde must be true or false, got 'maybe'"),
        (["--guidance", "-1"], "guidance must be a finite number >= 0, got -1.0"),
        (["--eta", "2", "--sampler", "DDIM"], "eta must be in [0, 1], got 2.0"),
        (["--eta", "1"], "--eta is of the diffusion samplers DDIM; DPMSolver takes clip"),
        (["stray"], "no argument 'stray'; options begin with --"),
        (["--device", "cudo"], "--device cudo cannot be used: "),
        (["--qqqqq", "1"], "no option --qqqqq; DPMSolver takes clip, guidance, guidance_from, guidance_to, sde, steps"),
    ],
)
def test_wrong_sampling_options_give_one_line(
    options: list[str], message: str, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", "--ckpt", checkpoint, *options]) == 2
    assert message in capsys.readouterr().err
