from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.objectives import R1, GradientPenalty, Hinge, LeastSquares, NonSaturating, Wasserstein

REAL = torch.tensor([2.0, -1.0, 0.5])
FAKE = torch.tensor([-2.0, 0.3, 1.5])


def test_non_saturating_is_binary_cross_entropy() -> None:
    bce = F.binary_cross_entropy_with_logits
    expected = bce(REAL, torch.ones(3)) + bce(FAKE, torch.zeros(3))
    torch.testing.assert_close(NonSaturating().discriminator(REAL, FAKE), expected)
    torch.testing.assert_close(NonSaturating().generator(FAKE), bce(FAKE, torch.ones(3)))


def test_non_saturating_survives_large_logits() -> None:
    logits = torch.tensor([-200.0, 200.0], requires_grad=True)
    loss = NonSaturating().discriminator(logits, logits) + NonSaturating().generator(logits)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_hinge_least_squares_and_wasserstein_by_hand() -> None:
    assert float(Hinge().discriminator(REAL, FAKE)) == pytest.approx((0 + 2 + 0.5) / 3 + (0 + 1.3 + 2.5) / 3)
    assert float(Hinge().generator(FAKE)) == pytest.approx(0.2 / 3)
    by_hand = 0.5 * (1 + 4 + 0.25) / 3 + 0.5 * (4 + 0.09 + 2.25) / 3
    assert float(LeastSquares().discriminator(REAL, FAKE)) == pytest.approx(by_hand)
    assert float(LeastSquares().generator(FAKE)) == pytest.approx(0.5 * (9 + 0.49 + 0.25) / 3)
    assert float(Wasserstein().discriminator(REAL, FAKE)) == pytest.approx(-0.2 / 3 - 1.5 / 3)
    assert float(Wasserstein().generator(FAKE)) == pytest.approx(0.2 / 3)


def linear_critic(weight: Tensor):
    return lambda image: (image * weight).flatten(1).sum(dim=1)


def test_penalties_of_a_linear_critic_have_closed_forms() -> None:
    weight = torch.randn(1, 4, 4, requires_grad=True)
    real, fake = torch.randn(5, 1, 4, 4), torch.randn(5, 1, 4, 4)
    norm = weight.norm()
    r1 = R1(weight=3.0, every=2)(linear_critic(weight), real, fake, torch.Generator())
    gp = GradientPenalty()(linear_critic(weight), real, fake, torch.Generator())
    torch.testing.assert_close(r1, 0.5 * 3.0 * 2 * norm.square())
    torch.testing.assert_close(gp, 10.0 * (norm - 1.0).square())
    (grad,) = torch.autograd.grad(r1, weight)
    torch.testing.assert_close(grad, 6.0 * weight.detach())


def test_gradient_penalty_looks_between_real_and_fake() -> None:
    real, fake, seen = torch.zeros(64, 1, 1, 1), torch.ones(64, 1, 1, 1), []

    def critic(image: Tensor) -> Tensor:
        seen.append(image.detach().flatten())
        return image.flatten(1).sum(dim=1)

    GradientPenalty()(critic, real, fake, torch.Generator().manual_seed(1))
    assert 0.0 <= seen[0].min() < 0.1
    assert 0.9 < seen[0].max() <= 1.0
    assert len(seen[0].unique()) == 64


def test_penalties_refuse_senseless_numbers() -> None:
    with pytest.raises(ValueError, match="weight >= 0"):
        R1(weight=-1.0)
    with pytest.raises(ValueError, match="every >= 1"):
        GradientPenalty(every=0)
