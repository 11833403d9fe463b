"""The collapse watch of models that are asked for more than classes."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import same_weights
from torch import Tensor, nn

from condgen.callbacks import CollapseWatch
from condgen.callbacks.collapse_watch import leaves_open
from condgen.conditions import AttributesEncoder, Compose, EncoderFactory, LowResEncoder, SourceEncoder, TextEncoder
from condgen.data import Shapes
from condgen.models import CGAN, GenerativeModel
from condgen.nets import MLPDiscriminator
from condgen.types import CondDims, Condition, CondSpec, Encoded, Shape

Fit = Callable[..., tuple[GenerativeModel, list[dict[str, float]], list[tuple[int, str]]]]
TEXT: EncoderFactory = partial(TextEncoder, width=8, depth=1, heads=2)


class Painter(nn.Module):
    """Paints what it is asked for, apart from what it leaves out: the seed's part, the condition's, or both."""

    latent_dim = 4

    def __init__(self, image_shape: Shape, dims: CondDims, seed: float = 0.0, cond: float = 1.0) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(0)
        self.shape = image_shape
        size = image_shape[0] * image_shape[1] * image_shape[2]
        self.bias = nn.Parameter(torch.zeros(size))
        self.register_buffer("by_z", seed * torch.randn(4, size, generator=source))
        self.register_buffer("by_vector", 30 * cond * torch.randn(dims.vector, size, generator=source))
        self.cond = cond

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        image = self.bias + z @ self.by_z
        if cond.vector is not None:
            image = image + (cond.vector - cond.vector[:, :1]) @ self.by_vector
        image = image.view(-1, *self.shape)
        if cond.spatial is not None:
            image = image + self.cond * cond.spatial[:, :3]
        return image.clamp(-1, 1)


def painter(data: Shapes, encoder: EncoderFactory, **settings: float) -> CGAN:
    nets = {"generator": partial(Painter, **settings), "discriminator": partial(MLPDiscriminator, hidden=(8,))}
    return CGAN(data.image_shape, data.cond_spec, encoder=encoder, **nets)


def shapes(*conditions: str) -> Shapes:
    sizes = {"n_train": 256, "n_validation": 2, "n_test": 2, "image_size": 16, "batch_size": 32}
    return Shapes(conditions=conditions, source="sketch", **sizes)  # type: ignore[arg-type]


@pytest.fixture
def fit(make_trainer: Callable[..., L.Trainer], capsys: pytest.CaptureFixture[str]) -> Fit:
    """Train with a watch; return the model, what was logged, and which alarms were given at which batch."""

    def run(model: GenerativeModel, data: Shapes, steps: int, ckpt_path: Path | None = None, **settings: Any) -> Any:
        rows: list[dict[str, float]] = []
        log = model.log_metrics
        model.log_metrics = lambda values: (rows.append(values), log(values))  # type: ignore[assignment]
        watch = CollapseWatch(**{"every_n_steps": 5, "warmup": 10} | settings)
        L.seed_everything(0, verbose=False)
        make_trainer(max_steps=steps, callbacks=[watch]).fit(model, data, ckpt_path=ckpt_path, weights_only=True)
        found = re.findall(r"warning, batch (\d+): (.*) has collapsed: ", capsys.readouterr().out)
        rows = [row for row in rows if "train/variety" in row]
        return model, rows, [(int(batch), who) for batch, who in found]

    return run


# ---------------------------------------------------------------------- what is too little, and what is right


@pytest.mark.parametrize(("key", "encoder"), [("text", TEXT), ("low_res", LowResEncoder), ("source", SourceEncoder)])
def test_one_image_whatever_is_asked_for_is_a_collapse(key: str, encoder: EncoderFactory, fit: Fit) -> None:
    data = shapes(key)
    _, rows, found = fit(painter(data, encoder, cond=0.0), data, 30)
    assert (20, "the generator") in found
    assert max(row["train/variety"] for row in rows) < 0.01


@pytest.mark.parametrize(("key", "encoder"), [("low_res", LowResEncoder), ("source", SourceEncoder)])
def test_pictures_that_fix_the_image_raise_no_alarm(key: str, encoder: EncoderFactory, fit: Fit) -> None:
    data = shapes(key)
    _, rows, found = fit(painter(data, encoder), data, 40)
    assert not found
    assert len(rows) == 8
    assert all(row.keys() == {"train/variety"} and 0.4 < row["train/variety"] < 1.3 for row in rows)


def test_captions_leave_open_what_the_seed_must_decide(fit: Fit) -> None:
    data = shapes("text")
    _, rows, found = fit(painter(data, TEXT), data, 30)
    assert found == [(20, "the use of the seed")]
    assert all(row["train/seed_variety"] < 0.01 < 0.1 < row["train/variety"] for row in rows)
    _, rows, found = fit(painter(data, TEXT, seed=1.0), data, 30)
    assert not found
    assert all(row["train/seed_variety"] > 0.1 for row in rows)


@pytest.mark.parametrize(
    ("spec", "keys", "due"),
    [
        ({"text": {}}, ["text"], True),
        ({"text": {}, "label": {}}, ["text", "label"], True),
        ({"text": {}, "mask": {}}, ["text", "mask"], False),
        ({"text": {}, "mask": {}}, ["text"], True),
        ({"attributes": {"names": ["hat", "tie"], "flags": ["hat", "tie"]}}, ["attributes"], True),
        ({"attributes": {"names": ["hat", "size"], "flags": ["hat"]}}, ["attributes"], False),
        ({"attributes": {"names": ["size"]}}, ["attributes"], False),
        ({"source": {}}, ["source"], False),
    ],
)
def test_names_leave_an_image_open_and_numbers_may_not(spec: CondSpec, keys: list[str], due: bool) -> None:
    class Model:
        cond_spec = spec
        condition_keys = tuple(keys)

    assert leaves_open(Model()) is due  # type: ignore[arg-type]


# ---------------------------------------------------------------------- what it asks for, and leaves alone


def test_samples_are_asked_for_what_the_batch_comes_with(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    data = shapes("text", "attributes")

    def asked(model: GenerativeModel, steps: int, **settings: int) -> list[tuple[Condition, Tensor]]:
        calls, sample = [], model.sample

        def spy(cond: Condition, seeds: Tensor) -> Tensor:
            calls.append((cond, seeds))
            return sample(cond, seeds=seeds)

        monkeypatch.setattr(model, "sample", spy)
        fit(model, data, steps, **settings)
        return calls

    both = asked(painter(data, partial(Compose, encoders=[TEXT, AttributesEncoder])), 10, per_class=6)
    assert len(both) == 2
    for cond, seeds in both:
        assert cond.keys() == {"text", "attributes"}
        assert len(seeds.unique()) == len(cond["text"].unique(dim=0)) == len(cond["text"]) == 6
    (once, _), (again, seeds) = asked(painter(data, TEXT), 5, per_class=6, classes=4)
    assert torch.equal(again["text"], once["text"][:4].repeat_interleave(6, 0))
    assert len(seeds.unique()) == 24


def test_training_is_the_same_with_and_without_a_watch(fit: Fit, make_trainer: Callable[..., L.Trainer]) -> None:
    data, states = shapes("text"), []
    alone, watched = painter(data, TEXT, seed=1.0), painter(data, TEXT, seed=1.0)
    watched.load_state_dict(alone.state_dict())
    L.seed_everything(0, verbose=False)
    make_trainer(max_steps=12).fit(alone, data)
    states.append(torch.get_rng_state())
    fit(watched, data, 12)
    states.append(torch.get_rng_state())
    assert same_weights(alone, watched)
    assert torch.equal(*states)


def test_a_resumed_run_warns_as_the_whole_one(fit: Fit, tmp_path: Path) -> None:
    data = shapes("text")
    torch.manual_seed(1)
    model, rows, found = fit(painter(data, TEXT), data, 30)
    torch.manual_seed(1)
    first, before, early = fit(painter(data, TEXT), data, 12)
    first.trainer.save_checkpoint(tmp_path / "a.ckpt")
    resumed, after, late = fit(painter(data, TEXT), data, 30, tmp_path / "a.ckpt")
    assert same_weights(model, resumed)
    assert before + after == rows
    assert early + late == found == [(20, "the use of the seed")]
