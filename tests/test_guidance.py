"""Guidance by several conditions, each with a scale of its own, and the training that it needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from PIL import Image
from torch import Tensor

from condgen.checkpoints import load_model
from condgen.cli import main
from condgen.conditions import Compose, InpaintingEncoder, LabelEncoder, NoCondition, SourceEncoder, TextEncoder
from condgen.data import Shapes
from condgen.models import DDPM
from condgen.nets import UNet
from condgen.objectives import guided
from condgen.pixels import conditions_to_model
from condgen.processes import DDIM, DPMSolver, Term, nested
from condgen.seeding import generator
from condgen.types import Condition

SEEDS = torch.tensor([3, 4])
SMALL = partial(UNet, width=8, multipliers=(1, 2), blocks=1, attention=(8,))
BOTH = partial(Compose, encoders=[partial(TextEncoder, width=8, depth=1, heads=2), SourceEncoder])
ALL = partial(Compose, encoders=[*BOTH.keywords["encoders"], LabelEncoder])
SCALES = [
    {"text": 3.0, "source": 1.5},
    {"text": 1.5, "source": 3.0},
    {"text": 0.5, "source": 1.0},
    {"text": 3.0, "source": 1.0},
    {"text": 2.0, "source": 2.0},
    {"text": 1.0, "source": 1.0},
    {"text": 3.0, "source": 0.0},
    {"text": 0.0, "source": 0.0},
    {"text": 3.0},
]


@pytest.fixture(scope="module")
def data() -> Shapes:
    conditions = ("label", "text", "source")
    return Shapes(32, 8, 8, image_size=16, conditions=conditions, source="sketch", batch_size=8)


@pytest.fixture(scope="module")
def cond(data: Shapes) -> Condition:
    return {key: value[:2] for key, value in conditions_to_model(data.images("test").all().cond).items()}


def small_ddpm(data: Shapes, **kwargs: Any) -> DDPM:
    """A model whose weights all differ from those at the start, for a new U-Net's output is zero."""
    settings = {"net": SMALL, "encoder": BOTH, "sampler": DDIM(2), "num_steps": 50, "sample_chunk": 2}
    model = DDPM(data.image_shape, data.cond_spec, **settings | kwargs)
    with torch.no_grad():
        for parameter in (*model.denoiser.parameters(), *model.sampling_net.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


@torch.no_grad()
def estimate(model: DDPM, cond: Condition, x: Tensor, t: int = 30, **settings: Any) -> tuple[Tensor, int]:
    """Return the estimate of x_0 under a sampler's guidance, and how often the net was evaluated."""
    model.sampler, calls = DDIM(2, clip=False, **settings), []
    hook = model.sampling_net.net.register_forward_hook(lambda *_: calls.append(1))
    out = model.denoise_under(cond, len(x))(x, model.process.level(t))
    hook.remove()
    return out, len(calls)


# ---------------------------------------------------------------------- which estimates, and how they are joined


@pytest.mark.parametrize("scales", SCALES[:-1], ids=str)
def test_it_is_instructpix2pix_s_formula(scales: dict[str, float]) -> None:
    e = {kept: torch.randn(5, dtype=torch.float64) for kept in ((), ("text",), ("source",), ("text", "source"))}
    terms = nested(scales)
    out = guided([e[term.kept] for term in terms], [term.scale for term in terms[1:]])
    (first, small), (_, large) = sorted(scales.items(), key=lambda item: item[1])
    if small == 0:
        expected = e[()] + large * (e[("text",)] - e[()])
    else:
        expected = e[()] + small * (e[(first,)] - e[()]) + large * (e[("text", "source")] - e[(first,)])
    torch.testing.assert_close(out, expected)
    before = [1.0, *(term.scale for term in terms[1:])]
    weights = [a - b for a, b in zip(before, [*before[1:], 0.0], strict=True)]
    assert all(weights)
    assert sum(weights) == pytest.approx(1.0)


def test_conditions_join_by_their_scales() -> None:
    assert nested({"a": 3.0, "b": 1.5, "c": 3.0}) == [Term((), 1.0), Term(("b",), 1.5), Term(("a", "b", "c"), 3.0)]
    assert nested({"a": 3.0, "b": 1.0}) == [Term(("b",), 1.0), Term(("a", "b"), 3.0)]
    assert nested({"a": 0.0, "b": 1.0}) == [Term(("b",), 1.0)]
    assert nested({"a": 0.0}) == nested({}) == [Term((), 1.0)]


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_nothing_jumps_where_the_order_changes(scale: float, data: Shapes, cond: Condition) -> None:
    model, x = small_ddpm(data), torch.randn(2, 3, 16, 16)
    at, _ = estimate(model, cond, x, guidance=scale)
    for text in (scale - 1e-4, scale + 1e-4):
        near, _ = estimate(model, cond, x, guidance={"text": text, "source": scale})
        torch.testing.assert_close(near, at, rtol=0, atol=1e-2)
    far, _ = estimate(model, cond, x, guidance={"text": scale + 1, "source": scale})
    assert (far - at).abs().max() > 0.1


# ---------------------------------------------------------------------- the model


@pytest.mark.parametrize(("scales", "evaluations"), [*zip(SCALES, (3, 3, 3, 2, 2, 1, 2, 1, 2), strict=True)], ids=str)
def test_the_model_follows_its_scales_with_no_more_evaluations_than_due(
    scales: dict[str, float], evaluations: int, data: Shapes, cond: Condition
) -> None:
    model, x = small_ddpm(data), torch.randn(2, 3, 16, 16)
    out, count = estimate(model, cond, x, guidance=scales)
    assert count == evaluations
    swapped, _ = estimate(model, cond, x, guidance=dict(reversed(scales.items())))
    assert torch.equal(swapped, out)
    level, t, drop = model.process.level(30), torch.full((2,), model.time(30)), torch.ones(2, dtype=torch.bool)
    first, *terms = nested({"source": 1.0} | scales)

    def under(term: Term) -> Tensor:
        lost = {key: drop for key in ("text", "source") if key not in term.kept}
        return model.sampling_net(x, t, cond, lost)

    with torch.no_grad():
        mixed = before = under(first)
        for term in terms:
            after = under(term)
            mixed, before = mixed + term.scale * (after - before), after
    expected = model.prediction.x_0(mixed, x, level.alpha, level.sigma)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.5, 4.0])
def test_equal_scales_are_one_guidance_bit_for_bit(scale: float, data: Shapes, cond: Condition) -> None:
    for encoder, keys in ((BOTH, ("text", "source")), (LabelEncoder, ("label",)), (SourceEncoder, ("source",))):
        model, x = small_ddpm(data, encoder=encoder), torch.randn(2, 3, 16, 16)
        whole, count = estimate(model, cond, x, guidance=scale)
        assert count == (1 if scale in (0, 1) else 2)
        assert torch.equal(estimate(model, cond, x, guidance=dict.fromkeys(keys, scale))[0], whole)
        net, t, drop = model.sampling_net, torch.full((2,), model.time(30)), torch.ones(2, dtype=torch.bool)
        with torch.no_grad():
            c, u = (net.net(x, t, net.encoder(cond, dropped)) for dropped in (None, drop))
        assert torch.equal(torch.lerp(u, c, scale), whole)  # PredictX0, not clipped
        model.sampler = DPMSolver(2, sde=True, guidance=scale)
        images = model.sample(cond, seeds=SEEDS)
        model.sampler = DPMSolver(2, sde=True, guidance=dict.fromkeys(keys, scale))
        assert torch.equal(model.sample(cond, seeds=SEEDS), images)


def test_scale_0_is_as_if_a_condition_were_not_there(data: Shapes, cond: Condition) -> None:
    model, x = small_ddpm(data), torch.randn(2, 3, 16, 16)
    other = cond | {"text": cond["text"].flip(0)}
    without = {"text": 0.0, "source": 2.0}
    assert torch.equal(*(estimate(model, c, x, guidance=without)[0] for c in (cond, other)))
    assert not torch.equal(*(estimate(model, c, x, guidance={"source": 2.0})[0] for c in (cond, other)))


def test_an_interval_holds_for_each_scale(data: Shapes, cond: Condition) -> None:
    model, x = small_ddpm(data), torch.randn(2, 3, 16, 16)
    scales, interval = {"text": 3.0, "source": 0.5}, {"guidance_from": 0.5, "guidance_to": 1.0}
    for t, here in ((30, scales), (10, {"text": 1.0, "source": 0.5})):
        partly, _ = estimate(model, cond, x, t, guidance=scales, **interval)
        assert torch.equal(partly, estimate(model, cond, x, t, guidance=here)[0])


# ---------------------------------------------------------------------- training


def test_several_conditions_are_lost_together_and_each_by_itself(data: Shapes, make_trainer: Any) -> None:
    rate, n = 0.1, 20_000
    model = small_ddpm(data, encoder=ALL, condition_dropout=rate)
    model._trainer = make_trainer()
    drop = model.draw_drops(n)
    assert isinstance(drop, dict)
    assert list(drop) == ["text", "source", "label"]
    lost = torch.stack([*drop.values()])
    found = [float((lost.sum(dim=0) == k).double().mean()) for k in range(4)]
    alone = [(1 - rate) ** 3, 3 * rate * (1 - rate) ** 2, 3 * rate**2 * (1 - rate), rate**3]
    expected = [(1 - rate) * p + (rate if k == 3 else 0) for k, p in enumerate(alone)]
    for share, p in zip(found, expected, strict=True):
        assert abs(share - p) < 4 * (p * (1 - p) / n) ** 0.5
    for row in lost:
        assert abs(float(row.double().mean()) - (rate + (1 - rate) * rate)) < 0.01


@pytest.mark.parametrize("encoder", [LabelEncoder, InpaintingEncoder], ids=["one-key", "two-keys-of-one-encoder"])
def test_one_condition_is_lost_at_the_rate_itself(encoder: Any, data: Shapes, make_trainer: Any) -> None:
    model = DDPM(data.image_shape, data.cond_spec | {"known": {}}, net=SMALL, encoder=encoder, condition_dropout=0.25)
    model._trainer = make_trainer()
    drop = model.draw_drops(64)
    assert isinstance(drop, Tensor)
    assert torch.equal(drop, torch.rand(64, generator=generator(0, 0, 0, "drop")) < 0.25)


def test_the_net_learns_from_what_is_drawn(data: Shapes, make_trainer: Callable[..., L.Trainer]) -> None:
    model, seen = small_ddpm(data, condition_dropout=0.5), []
    hook = model.denoiser.encoder.register_forward_hook(lambda _, args, out: seen.append((args[1], out)))
    make_trainer(max_steps=1).fit(model, data)
    hook.remove()
    ((drop, encoded),) = seen
    assert torch.equal((encoded.spatial == 0).flatten(1).all(dim=1), drop["source"])
    rows = encoded.vector.detach()
    same = (rows[:, None] - rows[None]).abs().amax(dim=2) < 1e-6
    assert same[drop["text"]][:, drop["text"]].all()
    assert not torch.equal(drop["text"], drop["source"])


# ---------------------------------------------------------------------- what is refused, and the command line


@pytest.mark.parametrize(
    ("settings", "guidance", "message"),
    [
        ({}, {"txet": 2.0}, "guidance names 'txet'; the model's conditions are text, source"),
        ({}, {"label": 1.0}, "guidance names 'label'; the model's conditions are text, source"),
        ({"condition_dropout": 0.0}, {"source": 1.0, "text": 2.0}, "guidance of text=2 needs a model trained with"),
        ({"encoder": NoCondition}, {"text": 2.0}, "guidance names 'text'; the model's conditions are none"),
    ],
)
def test_guidance_that_a_model_cannot_follow_is_refused(
    settings: dict[str, Any], guidance: dict[str, float], message: str, data: Shapes
) -> None:
    with pytest.raises(ValueError, match=message):
        small_ddpm(data, sampler=DDIM(2, guidance=guidance), **settings)


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_scales_that_are_no_scales_are_named(value: float) -> None:
    with pytest.raises(ValueError, match=f"guidance of text must be a finite number >= 0, got {value}"):
        DDIM(2, guidance={"source": 1.0, "text": value})


def test_scales_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = ["--data.image_size", "16", "--data.n_train", "8", "--data.n_validation", "8", "--data.n_test", "8"]
    config = ["-c", "trainer/default.yaml", "-c", "data/shapes.yaml", "-c", "model/ddpm.yaml"]
    encoder = ["-c", "condition/text_and_mask.yaml", "--data.conditions", "[text, mask]", "--data.batch_size", "8"]
    sampler = ["--model.sampler.steps", "2", "--model.sampler.guidance", "{text: 3, mask: 1.5}"]
    net = ["--model.net.width", "8", "--trainer.max_steps", "1", "--trainer.accelerator", "cpu"]
    assert main(["fit", *config, *encoder, *sampler, *net, *tiny]) == 0
    (run,) = tmp_path.glob("runs/*/*")
    model = load_model(run)
    assert model.sampler.guidance == {"text": 3.0, "mask": 1.5}
    Image.new("L", (16, 16), 1).save("mask.png")
    asked = ["--text", "a red circle", "--mask", "mask.png", "--n", "1", "--out", "a.png"]
    sample = ["sample", "--ckpt", str(run), *asked]
    for given in ("text=3,mask=1.5", "2", "mask=0", "text = 2.5"):
        assert main([*sample, "--guidance", given]) == 0
    capsys.readouterr()
    for given, message in (
        ("txet=3", "--sampler: guidance names 'txet'; the model's conditions are text, mask"),
        ("text=x", "--guidance takes a number, or several as text=3,source=1.5, got 'text=x'"),
        ("text=1,text=2", "--guidance names 'text' twice"),
        ("text=-1", "--sampler: guidance of text must be a finite number >= 0, got -1.0"),
        ("text", "--guidance must be float, got 'text'"),
    ):
        assert main([*sample, "--guidance", given]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1
    assert main([*sample, "--steps", "a=3"]) == 2
    assert "--steps must be int, got 'a=3'" in capsys.readouterr().err
