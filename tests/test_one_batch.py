"""What is computed in one batch instead of two is the same."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from condgen.conditions import Compose, LabelEncoder, SourceEncoder, TextEncoder
from condgen.data import Shapes
from condgen.models.denoiser import Denoiser
from condgen.models.players import Discriminator
from condgen.nets import DCGANDiscriminator, UNet
from condgen.pixels import conditions_to_model
from condgen.types import Condition, Encoded

SPEC = {"label": {"names": list("abc")}}
COND = {"label": torch.tensor([0, 1, 2, 2])}


def discriminator(**options: bool) -> tuple[Discriminator, list[int]]:
    """Return one, and the sizes of the batches that its net is given."""
    encoder = LabelEncoder(SPEC)
    net = DCGANDiscriminator((1, 16, 16), encoder.dims, width=4, dropout=0.0, **options)
    sizes: list[int] = []
    net.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    return Discriminator(net, encoder, 3), sizes


@pytest.mark.parametrize(
    ("options", "sizes"), [({}, [8]), ({"batch_norm": True}, [4, 4]), ({"minibatch_std": True}, [4, 4])]
)
def test_real_and_generated_images_are_judged_together_unless_that_would_mix_them(
    options: dict[str, bool], sizes: list[int]
) -> None:
    net_d, found = discriminator(**options)
    real, fake = torch.randn(2, 4, 1, 16, 16)
    together = net_d.judge_both(real, fake, COND)
    assert found == sizes
    for ours, alone in zip(together, (net_d(real, COND), net_d(fake, COND)), strict=True):
        torch.testing.assert_close(ours, alone, rtol=1e-5, atol=1e-6)


def test_gradients_of_one_pass_are_those_of_two() -> None:
    net_d, _ = discriminator()
    real, fake = torch.randn(2, 4, 1, 16, 16)

    def gradients(on_real: Tensor, on_fake: Tensor) -> list[Tensor]:
        loss = nn.functional.softplus(-on_real).mean() + nn.functional.softplus(on_fake).mean()
        return list(torch.autograd.grad(loss, list(net_d.net.parameters())))

    one = gradients(*(judgement.logits for judgement in net_d.judge_both(real, fake, COND)))
    two = gradients(net_d(real, COND).logits, net_d(fake, COND).logits)
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-7)


def test_estimates_under_several_conditions_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Shapes(16, 4, 4, image_size=16, conditions=("label", "text", "source"), source="sketch")
    encoder = Compose(
        data.cond_spec, [partial(TextEncoder, width=8, depth=1, heads=2, tokens=True), SourceEncoder, LabelEncoder]
    )
    net = UNet(data.image_shape, encoder.dims, width=8, multipliers=(1, 2), blocks=1, attention=(8,))
    denoiser = Denoiser(net, encoder).eval()
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    cond: Condition = conditions_to_model(data.images("test").all().cond)
    lost = torch.ones(4, dtype=torch.bool)
    conditions: list[Encoded] = [encoder(cond, drop) for drop in (lost, {"text": lost}, None)]
    x, t = torch.randn(4, *data.image_shape), torch.full((4,), 300.0)
    sizes: list[int] = []
    net.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    with torch.no_grad():
        alone = denoiser.estimates(x, t, conditions)
        monkeypatch.setattr("condgen.models.denoiser.in_one_batch", lambda device: True)
        together = denoiser.estimates(x, t, conditions)
    assert sizes == [4, 4, 4, 12]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(alone[0], alone[2])
