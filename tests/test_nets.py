from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from condgen.nets import (
    EMA,
    ConvClassifier,
    ConvDecoder,
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
    ResNetDiscriminator,
    ResNetGenerator,
    UNet,
)
from condgen.nets.layers import ConditionalBatchNorm2d, MinibatchStd, num_doublings
from condgen.nets.unet import cosines
from condgen.types import CondDims, Encoded

DIMS = CondDims(vector=4)
GENERATORS: list[Callable[..., nn.Module]] = [
    MLPGenerator,
    partial(MLPGenerator, batch_norm=False),
    DCGANGenerator,
    partial(DCGANGenerator, conditional_norm=False),
    partial(DCGANGenerator, concat=False),
    partial(DCGANGenerator, self_modulation=True),
    partial(DCGANGenerator, conditional_norm=False, self_modulation=True),
    partial(ResNetGenerator, width=8, max_multiple=2),
]
DISCRIMINATORS: list[Callable[..., nn.Module]] = [
    MLPDiscriminator,
    partial(MLPDiscriminator, projection=True),
    DCGANDiscriminator,
    partial(DCGANDiscriminator, projection=True, spectral_norm="all"),
    partial(DCGANDiscriminator, batch_norm=True),
    partial(DCGANDiscriminator, minibatch_std=True),
    partial(ResNetDiscriminator, width=8, max_multiple=2),
]


def vectors(count: int) -> Encoded:
    return Encoded(vector=torch.eye(4)[torch.arange(count) % 4])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (1, 32, 32)])
@pytest.mark.parametrize("make", GENERATORS)
def test_generators_make_images_that_the_condition_changes(make: Callable[..., nn.Module], shape: tuple) -> None:
    net = make(shape, DIMS)
    for norm in net.modules():
        if isinstance(norm, ConditionalBatchNorm2d) and norm.affine is not None:
            nn.init.normal_(norm.affine.weight)  # zero at the start, so that training begins from the plain norm
    net.eval()
    z = torch.randn(1, net.latent_dim).expand(4, -1)
    images = net(z, vectors(4))
    assert images.shape == (4, *shape)
    assert images.abs().max() <= 1.0
    assert (images[0] - images[1]).abs().max() > 1e-4
    if "batch_norm=False" not in str(make):
        assert net(z, Encoded(torch.zeros(4, 4))).shape == images.shape


@pytest.mark.parametrize("make", DISCRIMINATORS)
def test_discriminators_judge_image_and_condition(make: Callable[..., nn.Module]) -> None:
    net = make((1, 16, 16), DIMS).eval()
    image = torch.rand(1, 1, 16, 16).expand(4, -1, -1, -1)
    logits, features = net(image, vectors(4))
    assert logits.shape == (4,)
    assert features.shape == (4, net.feature_dim)
    assert (logits[0] - logits[1]).abs() > 1e-7


@pytest.mark.parametrize("make", [DCGANGenerator, ConvDecoder])
@pytest.mark.parametrize("dims", [CondDims(), DIMS, CondDims(spatial=2), CondDims(4, 0, 2)])
def test_noise_chooses_gains_and_biases_if_it_modulates(make: Callable[..., nn.Module], dims: CondDims) -> None:
    spatial = torch.randn(4, dims.spatial, 16, 16) if dims.spatial else None
    cond = Encoded(vector=torch.eye(4)[:, : dims.vector] if dims.vector else None, spatial=spatial)
    for modulates in (False, True):
        net = make((3, 16, 16), dims, width=4, latent_dim=5, self_modulation=modulates).eval()
        for name, module in net.named_modules():
            if isinstance(module, ConditionalBatchNorm2d) and module.affine is not None:
                nn.init.normal_(module.affine.weight)
            if name in ("stem", "joint.features"):  # the other way by which the noise gets in
                nn.init.zeros_(module.weight)
        one, other = (net(z, cond) for z in torch.randn(2, 4, 5))
        assert one.shape == (4, 3, 16, 16)
        assert torch.equal(one, other) is not modulates


def test_a_batch_s_spread_is_the_mean_deviation_of_its_features_and_has_a_gradient_where_there_is_none() -> None:
    x = torch.randn(6, 3, 4, 4, requires_grad=True)
    out = MinibatchStd()(x)
    torch.testing.assert_close(out[:, :3], x)
    expected = torch.from_numpy(x.detach().numpy().std(axis=0)).mean()
    torch.testing.assert_close(out[:, 3], expected.expand(6, 4, 4), rtol=1e-4, atol=1e-5)
    alike = torch.ones(4, 3, 2, 2, requires_grad=True)
    MinibatchStd()(alike).sum().backward()
    assert alike.grad is not None
    assert bool(alike.grad.isfinite().all())


def test_a_discriminator_told_of_the_spread_judges_an_image_by_its_batch() -> None:
    image, others = torch.randn(1, 1, 16, 16), torch.randn(3, 1, 16, 16)
    for told in (False, True):
        net = DCGANDiscriminator((1, 16, 16), DIMS, width=4, dropout=0.0, minibatch_std=told)
        alike = net(image.expand(4, -1, -1, -1), vectors(4)).logits[0]
        among = net(torch.cat([image, others]), vectors(4)).logits[0]
        assert torch.allclose(alike, among, atol=1e-6) is not told


def test_projection_is_the_inner_product_of_embedding_and_features() -> None:
    net = DCGANDiscriminator((1, 8, 8), DIMS, projection=True).eval()
    image = torch.rand(4, 1, 8, 8)
    logits, features = net(image, vectors(4))
    psi = features @ net.head.linear.weight[0] + net.head.linear.bias
    embedded = net.head.embed.weight.T[torch.arange(4)]
    torch.testing.assert_close(logits, psi + (embedded * features).sum(dim=1))


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (partial(DCGANDiscriminator, projection=True), 4),
        (partial(ResNetDiscriminator, width=8, flat_blocks=1), 10),
    ],
)
def test_spectral_norm_bounds_every_layer_or_all_but_the_head(make: Callable[..., nn.Module], layers: int) -> None:
    for which in ("all", "hidden"):
        net = make((1, 16, 16), DIMS, spectral_norm=which)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(3.0)
        for _ in range(60):
            net(torch.rand(2, 1, 16, 16), vectors(2))
        norms = {
            name: float(torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2))
            for name, module in net.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        }
        free = [name for name, norm in norms.items() if norm != pytest.approx(1.0, abs=0.02)]
        assert len(norms) == layers
        assert free == ([] if which == "all" else ["head.linear", "head.embed"])


def test_unknown_spectral_norms_are_named() -> None:
    with pytest.raises(ValueError, match="spectral_norm must be one of none, hidden, all, got True"):
        DCGANDiscriminator((1, 16, 16), DIMS, spectral_norm=True)


def test_maps_choose_gain_and_bias_place_by_place() -> None:
    norm = ConditionalBatchNorm2d(3, CondDims(spatial=2))
    nn.init.normal_(norm.spatial.affine.weight)
    x, spatial = torch.randn(4, 3, 8, 8) * 4 + 2, torch.rand(4, 2, 16, 16)
    hidden = torch.relu(norm.spatial.shared(nn.functional.interpolate(spatial, size=(8, 8), mode="area")))
    gain, bias = norm.spatial.affine(hidden).chunk(2, dim=1)
    plain = nn.functional.batch_norm(x, None, None, training=True)
    out = norm(x, Encoded(spatial=spatial))
    torch.testing.assert_close(out, plain * (1 + gain) + bias)
    other = spatial.clone()
    other[:, :, :2, :2] += 1.0  # one pixel of the small map, which two convolutions spread by two
    changed = (norm(x, Encoded(spatial=other)) != out).any(dim=1)
    assert changed[:, :3, :3].all()
    assert not changed[:, 3:].any()
    assert not changed[:, :, 3:].any()


def test_vector_and_map_add_up_in_conditional_batch_norm() -> None:
    norm = ConditionalBatchNorm2d(3, CondDims(vector=4, spatial=2)).eval()
    nn.init.normal_(norm.spatial.affine.weight)
    nn.init.normal_(norm.affine.weight)
    x, vector, spatial = torch.randn(4, 3, 8, 8), torch.eye(4), torch.rand(4, 2, 8, 8)
    parts = [norm(x, Encoded(vector)) - norm.norm(x), norm(x, Encoded(spatial=spatial)) - norm.norm(x)]
    torch.testing.assert_close(norm(x, Encoded(vector, spatial=spatial)) - norm.norm(x), sum(parts))


def test_conditional_batch_norm_normalises_then_scales() -> None:
    norm = ConditionalBatchNorm2d(3, DIMS)
    nn.init.normal_(norm.affine.weight)
    x, cond = torch.randn(8, 3, 5, 5) * 4 + 2, vectors(8)
    gain, bias = norm.affine(cond.vector)[:, :, None, None].chunk(2, dim=1)
    plain = nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(norm(x, cond), plain * (1 + gain) + bias)


@pytest.mark.parametrize(("side", "doublings"), [(8, 1), (16, 2), (32, 3), (64, 4), (128, 5)])
def test_sizes_that_doublings_of_4_reach(side: int, doublings: int) -> None:
    assert num_doublings((1, side, side)) == doublings


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 4, 4), (3, 32, 16), (1, 12, 12), (1, 0, 0)])
@pytest.mark.parametrize("make", [DCGANGenerator, DCGANDiscriminator, ResNetGenerator, ResNetDiscriminator])
def test_other_sizes_are_refused(make: type[nn.Module], shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"8, 16, 32, 64 ... pixels, got {shape[1]}x{shape[2]}"):
        make(shape, DIMS)


def test_unusable_routes_and_widths_are_refused() -> None:
    nets = (MLPGenerator, MLPDiscriminator, DCGANGenerator, DCGANDiscriminator, ResNetGenerator, ResNetDiscriminator)
    for make in nets:
        with pytest.raises(ValueError, match="cannot use the condition's 'tokens' route"):
            make((1, 8, 8), CondDims(tokens=8))
    with pytest.raises(ValueError, match="latent_dim must be at least 1, got -3"):
        MLPGenerator((1, 8, 8), DIMS, latent_dim=-3)
    with pytest.raises(ValueError, match="hidden must be at least 1"):
        MLPDiscriminator((1, 8, 8), DIMS, hidden=())
    with pytest.raises(ValueError, match="no use for the condition"):
        DCGANGenerator((1, 8, 8), DIMS, concat=False, conditional_norm=False)
    with pytest.raises(ValueError, match="cannot use the condition's 'vector' route; it uses spatial"):
        ResNetDiscriminator((1, 8, 8), DIMS, projection=False)
    with pytest.raises(ValueError, match="flat_blocks must be at least 1, got 0"):
        ResNetDiscriminator((1, 8, 8), DIMS, flat_blocks=0)
    with pytest.raises(ValueError, match="divisible by 8, got 28x28"):
        ConvClassifier((1, 28, 28), 10, widths=(4, 4, 4))


def test_ema_follows_the_closed_form_and_copies_buffers() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    start = net[0].weight.detach().clone()
    ema = EMA(net, half_life=100.0)
    with torch.no_grad():
        net[0].weight.fill_(5.0)
        net[1].running_mean.fill_(3.0)
    seen = 1_000_000
    for _ in range(4):
        ema.update(net, images=25, images_seen=seen)
    torch.testing.assert_close(ema.net[0].weight, 0.5 * start + 0.5 * 5.0)
    assert torch.equal(ema.net[1].running_mean, net[1].running_mean)
    assert not any(p.requires_grad for p in ema.parameters())


def test_ema_follows_what_takes_the_place_of_a_parameter_and_moves_shared_ones_once() -> None:
    first = nn.Linear(1, 1, bias=False)
    net = nn.Sequential(first, nn.Sequential(first), nn.BatchNorm1d(1))
    nn.init.zeros_(first.weight)
    ema = EMA(net, half_life=1.0)
    first.weight = nn.Parameter(torch.ones(1, 1))
    net[2].running_mean = torch.full((1,), 3.0)
    ema.update(net, images=1, images_seen=1_000_000)
    assert float(ema.net[0].weight) == 0.5
    assert float(ema.net[2].running_mean) == 3.0
    other = deepcopy(net)
    nn.init.constant_(other[0].weight, 2.5)
    ema.update(other, images=1, images_seen=1_000_000)
    assert float(ema.net[0].weight) == 1.5


def test_ema_forgets_the_initial_weights_early() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 100.0)
    ema = EMA(net, half_life=1e9)
    nn.init.constant_(net.weight, 0.0)
    for images_seen in range(64, 64 * 200, 64):
        ema.update(net, images=64, images_seen=images_seen)
    assert float(ema.net.weight) < 1e-3
    with pytest.raises(ValueError, match="ema_half_life"):
        EMA(net, half_life=0)


def test_a_background_is_subtracted_from_images() -> None:
    make = partial(MLPDiscriminator, (1, 8, 8), DIMS, projection=True, dropout=0.0)
    plain, shifted = make(), make(background=-1.0)
    shifted.load_state_dict(plain.state_dict())
    image, cond = torch.rand(3, 1, 8, 8) * 2 - 1, vectors(3)
    assert torch.equal(shifted(image, cond).logits, plain(image + 1.0, cond).logits)
    with pytest.raises(ValueError, match=r"background must be a pixel in \[-1, 1\], got -2"):
        make(background=-2.0)


def test_a_learned_position_begins_as_low_frequencies() -> None:
    waves = cosines(8, 16, 16)[0].flatten(1)
    torch.testing.assert_close(waves @ waves.T / 256, torch.eye(8), atol=1e-5, rtol=0)
    assert float((waves[:, :1] * waves[:, -1:]).min()) < 0  # the corners differ


@pytest.mark.parametrize(("height", "width"), [(2, 2), (8, 8), (16, 4)])
def test_a_small_map_has_no_frequency_twice(height: int, width: int) -> None:
    waves = cosines(64, height, width)[0].flatten(1)
    count = min(64, height * width - 1)
    gram = waves @ waves.T / (height * width)
    torch.testing.assert_close(gram, torch.eye(64) * (torch.arange(64) < count), atol=1e-5, rtol=0)


@pytest.mark.parametrize("half", [False, True])
def test_checkpointing_keeps_less_and_gives_the_same_gradients(half: bool) -> None:
    make = partial(UNet, (1, 16, 16), CondDims(5, 3, 0), width=16, multipliers=(1, 2), blocks=1, dropout=0.2)
    cond = Encoded(vector=torch.randn(2, 5), tokens=torch.randn(2, 4, 3))
    image, t = torch.randn(2, 1, 16, 16), torch.tensor([3.0, 700.0])
    plain, saving = make(), make(checkpoint=True)
    for net in (plain, saving):
        nn.init.normal_(net.last.weight)
    saving.load_state_dict(plain.state_dict())
    kept = {}
    for net in (plain, saving):
        kept[net] = 0

        def pack(x: Tensor, net: nn.Module = net) -> Tensor:
            kept[net] += x.numel()
            return x

        torch.manual_seed(1)
        counted = torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x)
        with torch.autocast("cpu", torch.bfloat16, enabled=half), counted:
            out = net(image, t, cond)
        out.float().square().mean().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(plain.parameters(), saving.parameters(), strict=True))
    assert any(p.grad.abs().max() > 0 for p in plain.parameters())
    assert kept[saving] < kept[plain] / 3
    with torch.no_grad():
        assert torch.equal(plain.eval()(image, t, cond), saving.eval()(image, t, cond))
