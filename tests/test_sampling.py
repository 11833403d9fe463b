"""Image i depends only on its seed, its condition and the model."""

from __future__ import annotations

import pytest
import torch
from conftest import small_cgan
from torch import nn

from condgen.conditions import NoCondition, SourceEncoder
from condgen.data import Digits, Shapes
from condgen.models import CGAN, DCGAN, GenerativeModel
from condgen.models.asking import ask
from condgen.pixels import conditions_to_model, to_uint8


@pytest.fixture(params=[CGAN, DCGAN])
def model(request: pytest.FixtureRequest, digits: Digits) -> GenerativeModel:
    out = request.param(digits.image_shape, digits.cond_spec, sample_chunk=16)
    for module in out.modules():  # at the start the conditional norms ignore the condition
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.2)
    return out


def label(*values: int) -> dict[str, torch.Tensor]:
    return {"label": torch.tensor(values)}


def test_an_image_does_not_depend_on_its_company(model: GenerativeModel) -> None:
    alone = to_uint8(model.sample(label(3), seeds=torch.tensor([7])))[0]
    five = to_uint8(model.sample(label(1, 9, 3, 3, 0), seeds=torch.tensor([7, 0, 7, 8, 7])))
    many = to_uint8(model.sample(label(*[3] * 64), seeds=torch.arange(64)))
    assert torch.equal(five[2], alone)
    assert torch.equal(many[7], alone)
    assert not torch.equal(five[3], alone)


def test_a_device_has_a_chunk_that_it_is_fast_at(digits: Digits) -> None:
    model = small_cgan(digits)
    assert (model.sample_chunk, model.sampler_card["chunk"]) == (64, 64)
    assert model.to("meta").sample_chunk == 256
    model.sample_chunk = 5
    assert model.sampler_card["chunk"] == 5


def test_condition_and_seed_both_change_the_image(model: GenerativeModel) -> None:
    images = model.sample(label(3, 4, 3), seeds=torch.tensor([7, 7, 8]))
    assert (images[0] - images[1]).abs().max() > 0.01
    assert (images[0] - images[2]).abs().max() > 0.01


def test_samples_are_finite_in_range_and_without_gradient(model: GenerativeModel) -> None:
    images = model.sample(label(*range(10)))
    assert images.shape == (10, 1, 8, 8)
    assert images.dtype == torch.float32
    assert torch.isfinite(images).all()
    assert images.abs().max() <= 1.0
    assert not images.requires_grad


def test_seeds_are_the_prior(model: GenerativeModel) -> None:
    seeds = torch.tensor([5, 6])
    assert model.prior(seeds).shape == (2, 64)
    assert torch.equal(model.sample(label(1, 2), seeds=seeds), model.sample(label(1, 2), noise=model.prior(seeds)))


def test_unseeded_samples_follow_the_global_generator(model: GenerativeModel) -> None:
    torch.manual_seed(1)
    first, second = model.sample(label(1)), model.sample(label(1))
    torch.manual_seed(1)
    assert torch.equal(model.sample(label(1)), first)
    assert not torch.equal(first, second)


def test_sampling_leaves_modes_and_statistics_alone(model: GenerativeModel) -> None:
    model.train()
    model.sampling_net.encoder.eval()
    modes = [m.training for m in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.sample(label(1, 2, 3))
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    model.generate = None  # type: ignore[method-assign, assignment]
    with pytest.raises(TypeError):
        model.sample(label(1))
    assert [m.training for m in model.modules()] == modes


def test_sampling_ignores_autocast(model: GenerativeModel) -> None:
    plain = model.sample(label(1), seeds=torch.tensor([1]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.sample(label(1), seeds=torch.tensor([1])), plain)


@pytest.mark.parametrize(
    ("cond", "kwargs", "message"),
    [
        ({"label": torch.tensor([10])}, {}, r"label must be in \[0, 9\], got 10"),
        ({"label": torch.tensor([-1])}, {}, r"label must be in \[0, 9\], got -1"),
        ({"label": torch.tensor([1.0])}, {}, r"int64 in \[0, 9\] with N >= 1, got \(1,\) torch.float32"),
        ({"label": torch.tensor([[1]])}, {}, r"got \(1, 1\)"),
        ({}, {"seeds": torch.tensor([1])}, "'label' is missing"),
        (label(1), {"seeds": torch.tensor([1, 2])}, "2 rows for 1 conditions"),
        (label(1), {"seeds": torch.tensor([1]), "noise": torch.zeros(1, 64)}, "not both"),
        (label(1), {"noise": torch.zeros(1, 63)}, r"noise must be \(N, 64\) float32, got \(1, 63\)"),
        (label(1), {"seeds": torch.tensor([-4])}, "seeds must be >= 0, got -4"),
        (label(1), {"seeds": torch.tensor([0.5])}, r"seeds must be \(N,\) int64 with N >= 1, got \(1,\) torch.float32"),
        (label(1), {"seeds": torch.tensor(3)}, r"seeds must be .* got \(\) torch.int64"),
        (label(1), {"seeds": [3]}, "seeds must be .* got list"),
        (label(1), {"noise": torch.zeros(1, 64, dtype=torch.float64)}, "float32, got .*float64"),
        (label(1), {"noise": torch.full((1, 64), torch.nan)}, "float32 and finite"),
        ({"label": torch.tensor([1]), "text": torch.zeros(1, 3)}, {}, "unknown condition 'text'"),
    ],
)
def test_bad_requests_are_refused_before_any_work(
    cond: dict[str, torch.Tensor], kwargs: dict[str, torch.Tensor], message: str, model: GenerativeModel
) -> None:
    model.generate = None  # type: ignore[method-assign, assignment]
    with pytest.raises(ValueError, match=message):
        model.sample(cond, **kwargs)


def test_pictures_may_be_uint8_as_they_are_stored() -> None:
    data = Shapes(8, 8, 8, image_size=16, conditions=("source",), source="sketch")
    model = DCGAN(data.image_shape, data.cond_spec, encoder=SourceEncoder)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.2)
    cond, seeds = data.images("test").all().cond, torch.arange(8)
    assert cond["source"].dtype == torch.uint8
    images = model.sample(cond, seeds=seeds)
    assert torch.equal(model.sample(conditions_to_model(cond), seeds=seeds), images)
    assert not torch.equal(model.sample({"source": 255 - cond["source"]}, seeds=seeds), images)


def test_an_unconditional_model_of_labelled_data_is_asked_for_nothing(digits: Digits) -> None:
    model = CGAN(digits.image_shape, digits.cond_spec, encoder=NoCondition)
    assert ask(model, torch.arange(4), lambda: digits.images("test")) == ({}, None)


def test_an_unconditional_model_counts_seeds(digits: Digits) -> None:
    model = small_cgan(digits, encoder=NoCondition)
    assert model.sample({}, seeds=torch.arange(3)).shape == (3, 1, 8, 8)
    with pytest.raises(ValueError, match="needs a condition or seeds"):
        model.sample({})


def test_chunks_are_part_of_the_models_card(digits: Digits) -> None:
    model = small_cgan(digits, sample_chunk=5)
    sizes = []
    model.ema.net.net.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    model.sample(label(*[1] * 12))
    assert sizes == [5, 5, 5]
    assert model.sampler_card == {"chunk": 5}
