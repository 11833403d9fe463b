from __future__ import annotations

from collections.abc import Callable
from functools import partial

import lightning as L
import pytest
import torch
from conftest import same_weights
from torch import Tensor, nn

from condgen.conditions import NoCondition
from condgen.data import Digits
from condgen.models import DCGAN
from condgen.nets import ResNetDiscriminator, ResNetGenerator
from condgen.nets.resnet_gan import DownBlock, UpBlock
from condgen.objectives import Hinge
from condgen.types import CondDims, Encoded

DIMS = CondDims(vector=10)


def sizes_of_blocks(net: nn.Module, *args: object) -> list[tuple[int, ...]]:
    sizes: list[tuple[int, ...]] = []
    for block in net.blocks:
        block.register_forward_hook(lambda module, inputs, out: sizes.append(tuple(out.shape[1:])))
    net(*args)
    return sizes


@pytest.mark.parametrize(
    ("side", "kwargs", "published"),
    [
        (32, {}, [(256, 8, 8), (256, 16, 16), (256, 32, 32)]),
        (
            128,
            {"width": 64, "max_multiple": 16},
            [(1024, 8, 8), (512, 16, 16), (256, 32, 32), (128, 64, 64), (64, 128, 128)],
        ),
    ],
)
def test_the_generator_is_the_published_one(side: int, kwargs: dict, published: list) -> None:
    with torch.device("meta"):
        net = ResNetGenerator((3, side, side), DIMS, **kwargs)
        assert sizes_of_blocks(net, torch.empty(2, 128), Encoded(torch.empty(2, 10))) == published
    assert net.stem.out_features == published[0][0] * 16


@pytest.mark.parametrize(
    ("side", "kwargs", "published"),
    [
        (8, {}, [(128, 4, 4), (128, 4, 4)]),
        (32, {}, [(128, 16, 16), (128, 8, 8), (128, 8, 8), (128, 8, 8)]),
        (
            128,
            {"width": 64, "max_multiple": 16, "flat_blocks": 1},
            [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4), (1024, 4, 4)],
        ),
    ],
)
def test_the_discriminator_is_the_published_one(side: int, kwargs: dict, published: list) -> None:
    with torch.device("meta"):
        net = ResNetDiscriminator((3, side, side), DIMS, spectral_norm="none", **kwargs)
        assert sizes_of_blocks(net, torch.empty(2, 3, side, side), Encoded(torch.empty(2, 10))) == published
    assert net.feature_dim == published[-1][0]


def test_features_are_summed_over_the_map() -> None:
    net = ResNetDiscriminator((1, 16, 16), DIMS, width=4).eval()
    image, cond = torch.rand(3, 1, 16, 16), Encoded(torch.eye(10)[:3])
    torch.testing.assert_close(net(image, cond).features, torch.relu(net.blocks(image)).flatten(2).sum(dim=2))


def test_shortcuts_may_be_taken_on_the_smaller_map() -> None:
    """Nearest upsampling and average pooling commute with a 1x1 convolution; the published order is the other."""
    x = torch.rand(2, 4, 8, 8)
    up, down = UpBlock(4, 6, CondDims()), DownBlock(4, 6, halve=True)
    for conv in (up.convs[1], down.convs[1]):
        nn.init.zeros_(conv.weight), nn.init.zeros_(conv.bias)
    doubled = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(up(x, Encoded()), up.shortcut(doubled))
    torch.testing.assert_close(down(x), nn.functional.avg_pool2d(down.shortcut(x), 2))


def small(digits: Digits, **kwargs: object) -> DCGAN:
    settings: dict = {
        "generator": partial(ResNetGenerator, latent_dim=16, width=16),
        "discriminator": partial(ResNetDiscriminator, width=16),
        "loss": Hinge(),
    }
    return DCGAN(digits.image_shape, digits.cond_spec, **settings | kwargs)


def test_it_trains_repeatably_and_every_weight_moves(digits: Digits, make_trainer: Callable[..., L.Trainer]) -> None:
    def train() -> tuple[DCGAN, dict[str, Tensor]]:
        L.seed_everything(0, verbose=False)
        model = small(digits)
        before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        make_trainer(max_steps=8).fit(model, digits)
        return model, before

    (model, before), (again, _) = train(), train()
    assert same_weights(model, again)
    still = [name for name, p in model.named_parameters() if p.requires_grad and torch.equal(p, before[name])]
    assert still == []


def test_it_trains_without_a_condition(digits: Digits, make_trainer: Callable[..., L.Trainer]) -> None:
    discriminator = partial(ResNetDiscriminator, width=8, projection=False)
    model = small(digits, encoder=NoCondition, discriminator=discriminator)
    make_trainer(max_steps=2).fit(model, digits)
    assert model.sample({}, seeds=torch.arange(3)).shape == (3, 1, 8, 8)
