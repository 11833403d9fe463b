"""Between two conditions and two noises: the ends are the images themselves, and the way is gradual."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import lightning as L
import pytest
import torch
from conftest import small_cgan
from PIL import Image
from test_ddpm import small_ddpm
from test_vae import small_vae

from condgen.cli import main
from condgen.data import Digits
from condgen.models import GenerativeModel
from condgen.models.interpolate import Between, interpolate, slerp


@pytest.fixture(scope="module", params=[small_cgan, small_vae, small_ddpm])
def model(request: pytest.FixtureRequest) -> GenerativeModel:
    torch.manual_seed(0)
    data = Digits()
    made: GenerativeModel = request.param(data)
    with torch.no_grad():
        for value in made.sampling_net.parameters():
            value.add_(0.1 * torch.randn_like(value))  # what begins at zero hides the condition
    made.sample_chunk = 4
    return made


def test_great_circles_keep_the_length() -> None:
    a, b = torch.randn(2, 400)
    assert torch.equal(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    middle = slerp(a, b, 0.5)
    assert float(middle.norm()) == pytest.approx(float((a.norm() + b.norm()) / 2), rel=0.02)
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    torch.testing.assert_close(slerp(a, -a, 0.5).norm(), torch.tensor(0.0), atol=1e-4, rtol=0)


def test_the_ends_are_the_images_themselves(model: GenerativeModel) -> None:
    cond, noise = {"label": torch.tensor([3, 7])}, model.prior(torch.tensor([0, 1]))
    frames = interpolate(model, cond, noise, 7)
    torch.testing.assert_close(frames[[0, -1]], model.sample(cond, noise=noise), atol=1e-4, rtol=0)
    assert (frames.diff(dim=0).flatten(1).norm(dim=1) > 0).all()
    whole = (frames[0] - frames[-1]).norm()
    assert all((a - b).norm() < whole for a, b in pairwise(frames))
    again = model.sample(cond, noise=noise)
    torch.testing.assert_close(again, frames[[0, -1]], atol=1e-4, rtol=0)
    assert model.sample_chunk == 4
    assert not any(isinstance(part, Between) for part in model.modules())


def test_senseless_ends_are_refused(model: GenerativeModel) -> None:
    noise = model.prior(torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="frames must be at least 2, got 1"):
        interpolate(model, {"label": torch.tensor([3, 7])}, noise, 1)
    with pytest.raises(ValueError, match="label must have two rows"):
        interpolate(model, {"label": torch.tensor([3])}, noise, 3)


def test_a_strip_and_a_gif_are_written(
    tmp_path: Path, make_trainer: Callable[..., L.Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    data = Digits()
    trainer = make_trainer(max_steps=1)
    trainer.fit(small_cgan(data), data)
    ckpt = str(tmp_path / "x.ckpt")
    trainer.save_checkpoint(ckpt)
    out = tmp_path / "walk.png"
    walk = ["interpolate", "--ckpt", ckpt, "--out", str(out)]
    assert main([*walk, "--label", "3,7", "--seeds", "1,2", "--frames", "5"]) == 0
    assert Image.open(out).width > 4 * Image.open(out).height
    with Image.open(out.with_suffix(".gif")) as gif:
        assert gif.n_frames == 8
    assert main([*walk, "--label", "3", "--seeds", "1,2"]) == 0
    capsys.readouterr()
    for args, message in (
        (["--label", "3"], "give two"),
        (["--label", "1-3"], "give two"),
        ([], "give --label A,B"),
        (["--label", "3,7", "--seeds", "1-3"], "--seeds takes one seed or two, got 1-3"),
        (["--label", "3,7", "--frames", "1"], "frames must be at least 2, got 1"),
    ):
        assert main([*walk, *args]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
