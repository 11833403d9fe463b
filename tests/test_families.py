"""What holds for every family alike: one step, one way to sample, one way to save."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from conftest import same_weights

from condgen.checkpoints import load_model
from condgen.data import Digits
from condgen.models import CGAN, DCGAN, DDPM, VAE, GenerativeModel
from condgen.nets import DCGANDiscriminator, DCGANGenerator, UNet
from condgen.processes import DPMSolver
from condgen.types import CondSpec, Shape

Family = Callable[[Shape, CondSpec], GenerativeModel]

FAMILIES: dict[str, Family] = {
    "cgan": CGAN,
    "dcgan": partial(
        DCGAN,
        generator=partial(DCGANGenerator, width=8),
        discriminator=partial(DCGANDiscriminator, width=8, projection=True, spectral_norm="all"),
    ),
    "vae": VAE,
    "ddpm": partial(
        DDPM,
        net=partial(UNet, width=8, multipliers=(1, 2), blocks=1, attention=(4,)),
        sampler=DPMSolver(4, guidance=1.5),
    ),
}
LABEL = torch.tensor([0, 4, 9])
SEEDS = torch.tensor([11, 12, 13])


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture
def trained(family: Family, digits: Digits, make_trainer: Callable[..., L.Trainer]) -> GenerativeModel:
    """A model after three batches; the first change all weights, those that begin at zero too."""
    model = family(digits.image_shape, digits.cond_spec)
    before = [parameter.clone() for parameter in model.trained_net.parameters()]
    make_trainer(max_steps=3).fit(model, Digits(batch_size=64))
    assert model.batches_seen == 3
    changed = [not torch.equal(a, b) for a, b in zip(before, model.trained_net.parameters(), strict=True)]
    assert all(changed)
    return model


def test_samples_are_images_and_functions_of_their_seeds(trained: GenerativeModel) -> None:
    images = trained.sample({"label": LABEL}, seeds=SEEDS)
    assert images.shape == (3, *trained.image_shape)
    assert torch.isfinite(images).all()
    assert images.abs().max() <= 1
    assert not images.requires_grad
    assert torch.equal(trained.sample({"label": LABEL}, seeds=SEEDS), images)
    assert torch.equal(trained.sample({"label": LABEL[1:2]}, seeds=SEEDS[1:2]), images[1:2])
    assert torch.equal(trained.sample({"label": LABEL}, noise=trained.prior(SEEDS)), images)
    assert not torch.equal(trained.sample({"label": LABEL}, seeds=SEEDS + 100), images)
    assert not torch.equal(trained.sample({"label": LABEL.flip(0)}, seeds=SEEDS)[0], images[0])


def test_raw_and_averaged_weights_both_sample(trained: GenerativeModel) -> None:
    averaged = trained.sample({"label": LABEL}, seeds=SEEDS)
    trained.raw = True
    assert trained.sampling_net is trained.trained_net
    assert not trained.averaged
    assert not torch.equal(trained.sample({"label": LABEL}, seeds=SEEDS), averaged)


def test_a_checkpoint_brings_the_model_back(
    trained: GenerativeModel, make_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    trained.trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_model(tmp_path / "a.ckpt")
    assert type(loaded) is type(trained)
    assert same_weights(loaded, trained)
    assert loaded.progress() == trained.progress()
    assert loaded.sampler_card == trained.sampler_card
    assert torch.equal(loaded.sample({"label": LABEL}, seeds=SEEDS), trained.sample({"label": LABEL}, seeds=SEEDS))


def test_a_resumed_run_equals_the_uninterrupted_one(
    family: Family, digits: Digits, make_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    def fit(until: int, checkpoint: Path | None = None) -> GenerativeModel:
        L.seed_everything(3, verbose=False)
        model = family(digits.image_shape, digits.cond_spec)
        trainer = make_trainer(max_steps=until)
        trainer.fit(model, Digits(batch_size=128), ckpt_path=checkpoint, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{until}.ckpt")
        return model

    whole = fit(10)
    for stop in (3, 8):  # in mid-epoch, and at an epoch's end
        fit(stop)
        resumed = fit(10, tmp_path / f"{stop}.ckpt")
        assert resumed.progress() == whole.progress()
        assert same_weights(resumed, whole)


def test_a_training_step_leaves_the_caller_s_modes_alone(trained: GenerativeModel) -> None:
    trained.train()
    modes = [module.training for module in trained.modules()]
    trained.sample({"label": LABEL}, seeds=SEEDS)
    assert [module.training for module in trained.modules()] == modes
