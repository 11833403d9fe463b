from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from conftest import same_weights, small_cgan
from torch import Tensor, nn

from condgen.data import Digits
from condgen.models import CGAN
from condgen.models.plain import from_plain, to_plain
from condgen.objectives import R1, DiffAugment, Hinge
from condgen.seeding import generator

OFF = DiffAugment(color=False, translation=False, cutout=False)
COLOR = DiffAugment(translation=False, cutout=False)
TRANSLATION = DiffAugment(color=False, cutout=False)
CUTOUT = DiffAugment(color=False, translation=False)


def images(count: int = 64, channels: int = 3, height: int = 16, width: int = 16) -> Tensor:
    return torch.rand(count, channels, height, width) * 0.8 + 0.1  # nowhere 0, which is what comes in


def test_without_policies_it_is_the_identity() -> None:
    image = images()
    assert torch.equal(OFF(image, generator("a")), image)


@pytest.mark.parametrize("augment", [COLOR, TRANSLATION, CUTOUT, DiffAugment()])
def test_draws_come_from_the_generator_alone_and_differ_by_image(augment: DiffAugment) -> None:
    image = images(1).expand(64, -1, -1, -1)
    first = augment(image, generator("a"))
    torch.rand(7)
    assert torch.equal(augment(image, generator("a")), first)
    assert not torch.equal(augment(image, generator("b")), first)
    assert first.shape == image.shape
    assert len(first.flatten(1).unique(dim=0)) > 20


@pytest.mark.parametrize(("height", "width", "most_y", "most_x"), [(16, 16, 2, 2), (8, 32, 1, 4), (12, 20, 2, 3)])
def test_translation_shifts_by_whole_pixels_and_brings_in_zeros(
    height: int, width: int, most_y: int, most_x: int
) -> None:
    image, seen = images(256, 2, height, width), set()
    padded = nn.functional.pad(image, (most_x, most_x, most_y, most_y))
    for before, after in zip(padded, TRANSLATION(image, generator("a")), strict=True):
        (shift,) = [
            (dy, dx)
            for dy in range(-most_y, most_y + 1)
            for dx in range(-most_x, most_x + 1)
            if torch.equal(before[:, most_y - dy :, most_x - dx :][:, :height, :width], after)
        ]
        seen.add(shift)
    assert len(seen) == (2 * most_y + 1) * (2 * most_x + 1)


def test_cutout_hides_a_square_of_half_the_side_that_may_stick_out() -> None:
    image = images(512, 3, 8, 8)
    hidden = CUTOUT(image, generator("a")) == 0
    assert torch.equal(CUTOUT(image, generator("a"))[~hidden], image[~hidden])
    assert torch.equal(hidden.all(dim=1), hidden.any(dim=1))
    rows, columns = hidden[:, 0].any(dim=2), hidden[:, 0].any(dim=1)
    assert torch.equal(hidden[:, 0], rows.unsqueeze(2) & columns.unsqueeze(1))
    assert set(rows.sum(dim=1).tolist()) == set(columns.sum(dim=1).tolist()) == {2, 3, 4}
    assert (rows.float().mean(dim=0) > 0.2).all()


def test_colors_move_as_published() -> None:
    image = images(512)
    light, saturation, contrast = torch.rand((3, 512, 1, 1, 1), generator=generator("a"))
    brighter = image + light - 0.5
    grey = brighter.mean(dim=1, keepdim=True)
    saturated = (brighter - grey) * (saturation * 2) + grey
    mean = saturated.mean(dim=[1, 2, 3], keepdim=True)
    torch.testing.assert_close(COLOR(image, generator("a")), (saturated - mean) * (contrast + 0.5) + mean)


def test_saturation_leaves_grey_images_alone() -> None:
    image = images(64, 1)
    light, _, contrast = torch.rand((3, 64, 1, 1, 1), generator=generator("a"))
    mean = (image + light - 0.5).mean(dim=[1, 2, 3], keepdim=True)
    expected = (image + light - 0.5 - mean) * (contrast + 0.5) + mean
    torch.testing.assert_close(COLOR(image, generator("a")), expected)


@pytest.mark.parametrize("augment", [COLOR, TRANSLATION, CUTOUT, DiffAugment()])
def test_the_gradient_reaches_the_image(augment: DiffAugment) -> None:
    image = images(4, 3, 8, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, generator("a")), image)
    augment(image, generator("a")).sum().backward()
    assert (image.grad.flatten(1).norm(dim=1) > 0).all()


def test_bf16_images_keep_their_precision_in_the_draws() -> None:
    image = images()
    torch.testing.assert_close(
        DiffAugment()(image.bfloat16(), generator("a")), DiffAugment()(image, generator("a")), atol=0.02, rtol=0
    )


def test_it_goes_through_a_checkpoint() -> None:
    assert from_plain(to_plain(CUTOUT), ()) == CUTOUT


class Spy(nn.Module):
    """Keeps what a discriminator's net is shown."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.seen = net, []

    def forward(self, image: Tensor, cond: Any) -> Any:
        self.seen += list(image.detach())
        return self.net(image, cond)


def test_the_discriminator_never_sees_an_image_as_it_is(digits: Digits, make_trainer: Callable[..., L.Trainer]) -> None:
    model = small_cgan(digits, augment=CUTOUT, penalty=R1())
    spy = model.discriminator.net = Spy(model.discriminator.net)
    make_trainer(max_steps=2).fit(model, digits)
    assert len(spy.seen) == 2 * 4 * 64  # real, fake, the penalty's, and the generator's
    assert all(int((image == 0).sum()) >= 4 for image in spy.seen)


def test_training_with_it_runs_and_repeats_bit_for_bit(digits: Digits, make_trainer: Callable[..., L.Trainer]) -> None:
    def train(augment: DiffAugment | None) -> CGAN:
        L.seed_everything(0, verbose=False)
        model = small_cgan(digits, augment=augment, loss=Hinge())
        make_trainer(max_steps=20).fit(model, digits)
        return model

    first = train(DiffAugment())
    assert same_weights(first, train(DiffAugment()))
    assert same_weights(train(OFF), train(None))
    assert not same_weights(first, train(None))
