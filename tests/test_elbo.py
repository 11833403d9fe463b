"""Likelihoods and bounds against torch.distributions, sums over all outcomes, and a model whose likelihood is known."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor, distributions

from condgen.objectives import (
    Bernoulli,
    DiscretisedLogistic,
    Gaussian,
    LearnedGaussian,
    Likelihood,
    WeightedELBO,
    bits_per_dim,
    elbo,
    importance_weighted_bound,
    kl_standard_normal,
    log_normal,
    reparameterise,
)

ALL = [Bernoulli(), Gaussian(0.3), LearnedGaussian(0.1), DiscretisedLogistic()]
LEVELS = torch.arange(256) / 127.5 - 1.0
each_likelihood = pytest.mark.parametrize("likelihood", ALL, ids=lambda x: type(x).__name__)


def params_for(likelihood: Likelihood, *shape: int) -> Tensor:
    count, channels, *size = shape
    return torch.randn(count, channels * likelihood.parameters, *size)


# ---------------------------------------------------------------------- likelihoods


def test_bernoulli_is_that_of_torch_on_black_and_white() -> None:
    image, params = torch.randint(0, 2, (5, 2, 3, 3)) * 2.0 - 1.0, 3 * torch.randn(5, 2, 3, 3)
    expected = distributions.Bernoulli(logits=params).log_prob((image + 1) / 2).sum(dim=(1, 2, 3))
    torch.testing.assert_close(Bernoulli().log_prob(image, params), expected)
    torch.testing.assert_close((Bernoulli().mean(params) + 1) / 2, params.sigmoid())


def test_bernoulli_of_grey_is_the_mean_over_binarisations() -> None:
    image, params = torch.full((1, 1, 1, 1), 0.2), torch.full((1, 1, 1, 1), 0.7)
    white, black = (Bernoulli().log_prob(torch.full_like(image, colour), params) for colour in (1.0, -1.0))
    torch.testing.assert_close(Bernoulli().log_prob(image, params), 0.6 * white + 0.4 * black)


def test_binarisation_is_as_probable_as_the_grey_level_says() -> None:
    image = torch.tensor([-1.0, -0.5, 0.5, 1.0]).view(4, 1, 1, 1).expand(4, 1, 100, 100)
    seen = Bernoulli().observe(image, torch.randn(image.shape))
    assert set(seen.unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(seen.mean(dim=(1, 2, 3)), image[:, 0, 0, 0], atol=0.04, rtol=0)
    assert torch.equal(Gaussian().observe(image, torch.randn(image.shape)), image)


def test_gaussians_are_those_of_torch() -> None:
    image, params = torch.rand(4, 2, 3, 3) * 2 - 1, torch.randn(4, 4, 3, 3)
    fixed = distributions.Normal(params[:, :2].tanh(), 0.3).log_prob(image).sum(dim=(1, 2, 3))
    torch.testing.assert_close(Gaussian(0.3).log_prob(image, params[:, :2]), fixed)
    std = 0.1 + torch.nn.functional.softplus(params[:, 2:])
    learned = distributions.Normal(params[:, :2].tanh(), std).log_prob(image).sum(dim=(1, 2, 3))
    torch.testing.assert_close(LearnedGaussian(0.1).log_prob(image, params), learned)


def test_the_variance_floor_bounds_the_density() -> None:
    image, params = torch.zeros(1, 1, 4, 4), torch.cat([torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), -1e4)], dim=1)
    limit = 16 * distributions.Normal(0.0, 0.05).log_prob(torch.tensor(0.0))
    torch.testing.assert_close(LearnedGaussian(0.05).log_prob(image, params)[0], limit)


@pytest.mark.parametrize("log_scale", [-20.0, -7.0, -4.0, -1.0, 2.0])
@pytest.mark.parametrize("location", [-1.5, -1.0, 0.013, 0.9, 3.0])
def test_the_256_levels_have_mass_one(location: float, log_scale: float) -> None:
    params = torch.tensor([location, log_scale]).view(1, 2, 1, 1).expand(256, 2, 1, 1).double()
    log_mass = DiscretisedLogistic().log_prob(LEVELS.double().view(256, 1, 1, 1), params)
    assert torch.isfinite(log_mass).all()
    assert float(log_mass.exp().sum()) == pytest.approx(1.0, abs=1e-9)


def test_discretised_logistic_is_the_naive_difference() -> None:
    params = torch.stack([torch.linspace(-1.2, 1.2, 256), torch.linspace(-2.0, 0.0, 256)], dim=1).view(256, 2, 1, 1)
    image = LEVELS[torch.randperm(256)].view(256, 1, 1, 1)
    x, location, scale = image.double(), params[:, :1].double(), params[:, 1:].double().exp()
    upper = torch.where(x > 0.999, 1.0, torch.sigmoid((x + 1 / 255 - location) / scale))
    lower = torch.where(x < -0.999, 0.0, torch.sigmoid((x - 1 / 255 - location) / scale))
    naive = (upper - lower).log().flatten()
    torch.testing.assert_close(DiscretisedLogistic().log_prob(image, params).double(), naive, rtol=1e-4, atol=1e-4)


def test_discretised_logistic_has_finite_gradients_at_extremes() -> None:
    params = torch.tensor([[3.0, -30.0], [-50.0, 9.0], [0.0, 0.0]]).view(3, 2, 1, 1).requires_grad_()
    for level in (-1.0, 0.1, 1.0):
        DiscretisedLogistic().log_prob(torch.full((3, 1, 1, 1), level), params).sum().backward()
    assert torch.isfinite(params.grad).all()


@each_likelihood
def test_means_and_draws_are_images_and_agree(likelihood: Likelihood) -> None:
    params = params_for(likelihood, 3, 2, 4, 4) * 0.3
    if likelihood.parameters == 2:
        params[:, 2:] -= 3.0
    mean = likelihood.mean(params)
    draws = torch.stack([likelihood.draw(params, torch.randn(3, 2, 4, 4)) for _ in range(3000)])
    assert mean.shape == (3, 2, 4, 4)
    assert mean.abs().max() <= 1.0
    assert draws.abs().max() <= 1.0
    assert draws.std(dim=0).min() > 0.01
    torch.testing.assert_close(draws.mean(dim=0), mean, atol=0.08, rtol=0)  # 0.08 covers 4 sd, and clamping
    assert torch.isfinite(likelihood.mean(1e4 * params)).all()
    assert torch.isfinite(likelihood.draw(params, torch.full((3, 2, 4, 4), 9.0))).all()


def test_the_mean_of_the_logistic_is_that_of_its_levels() -> None:
    params = torch.tensor([[0.2, -2.0], [-0.95, -1.0], [1.3, -3.0], [0.0, 1.0]]).view(4, 2, 1, 1)
    mass = torch.stack([DiscretisedLogistic().log_prob(x.expand(4, 1, 1, 1), params).exp() for x in LEVELS])
    torch.testing.assert_close(DiscretisedLogistic().mean(params).flatten(), LEVELS @ mass, atol=1e-4, rtol=0)


def test_draws_are_grey_levels() -> None:
    levels = (DiscretisedLogistic().draw(torch.randn(2, 2, 8, 8), torch.randn(2, 1, 8, 8)) + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)


# ---------------------------------------------------------------------- bounds


def test_kl_is_that_of_torch() -> None:
    mu, logvar = torch.randn(6, 4), torch.randn(6, 4)
    posterior = distributions.Normal(mu, (0.5 * logvar).exp())
    expected = distributions.kl_divergence(posterior, distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(kl_standard_normal(mu, logvar), expected)
    assert float(kl_standard_normal(torch.zeros(1, 1), torch.zeros(1, 1))) == 0.0


def test_reparameterised_draws_follow_the_posterior() -> None:
    z = reparameterise(torch.tensor(2.0), torch.tensor(2 * log(3.0)), torch.randn(20_000))
    assert float(z.mean()) == pytest.approx(2.0, abs=0.1)
    assert float(z.std()) == pytest.approx(3.0, abs=0.1)


def test_elbo_and_its_weights_by_hand() -> None:
    log_prob, kl = torch.tensor([-10.0, -20.0]), torch.tensor([[1.0, 0.1], [3.0, 0.3]])
    assert elbo(log_prob, kl).tolist() == pytest.approx([-11.1, -23.3])
    assert float(WeightedELBO()(log_prob, kl, 0)) == pytest.approx(17.2)
    assert float(WeightedELBO(beta=4.0)(log_prob, kl, 0)) == pytest.approx(15.0 + 4 * 2.2)
    warm = WeightedELBO(beta=4.0, kl_warmup=100)
    assert [warm.weight(n) for n in (0, 25, 100, 1000)] == [0.0, 1.0, 4.0, 4.0]
    assert float(warm(log_prob, kl, 25)) == pytest.approx(17.2)


def test_free_bits_hold_each_dimension_at_its_floor_in_the_batch_mean() -> None:
    log_prob, kl = torch.tensor([-10.0, -20.0]), torch.tensor([[1.0, 0.1], [3.0, 0.3]], requires_grad=True)
    loss = WeightedELBO(free_bits=0.5)(log_prob, kl, 0)
    assert float(loss.detach()) == pytest.approx(
        15.0 + 2.0 + 0.5
    )  # one image has 1.0 + 3.0 in a dimension: the mean counts
    loss.backward()
    assert kl.grad.tolist() == [[0.5, 0.0], [0.5, 0.0]]


def test_bits_per_dim() -> None:
    assert bits_per_dim(-8 * log(2.0) * 12, 12) == pytest.approx(8.0)


@pytest.mark.parametrize("name", ["beta", "kl_warmup", "free_bits"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_senseless_weights_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a finite number >= 0, got {value}"):
        WeightedELBO(**{name: value})


def test_senseless_deviations_are_refused() -> None:
    for value in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"finite std > 0, got {value}"):
            Gaussian(value)
        with pytest.raises(ValueError, match=f"finite min_std > 0, got {value}"):
            LearnedGaussian(value)


def test_a_discretised_logistic_of_any_parameters_stays_finite() -> None:
    image = torch.tensor([-1.0, -0.2, 1.0]).view(3, 1, 1, 1)
    for log_scale in (-1e4, 1e4):
        params = torch.tensor([0.3, log_scale]).view(1, 2, 1, 1).expand(3, 2, 1, 1).clone().requires_grad_()
        log_prob = DiscretisedLogistic().log_prob(image, params)
        log_prob.sum().backward()
        assert torch.isfinite(log_prob).all()
        assert torch.isfinite(params.grad).all()
        assert torch.isfinite(DiscretisedLogistic().mean(params)).all()


def linear_gaussian(draws: int, seed: int) -> tuple[Tensor, Tensor]:
    """Log-weights (draws, N) and exact log p(x) (N,) of x = A z + 0.5 noise, with a posterior a little off."""
    source = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 2, generator=torch.Generator().manual_seed(7))
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(8))
    exact = distributions.MultivariateNormal(torch.zeros(3), weight @ weight.T + 0.25 * torch.eye(3)).log_prob(x)
    cov = torch.linalg.inv(torch.eye(2) + 4 * weight.T @ weight)
    mu = x @ (4 * cov @ weight.T).T + 0.1
    logvar = cov.diagonal().log().expand_as(mu) + 0.3
    z = reparameterise(mu, logvar, torch.randn(draws, 40, 2, generator=source))

    def rows(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        flat = [part.expand(draws, 40, -1).flatten(0, 1) for part in (value, mean, log_variance)]
        return log_normal(*flat).view(draws, 40)

    zero = torch.zeros(draws, 40, 3)
    likelihood = rows(x, z @ weight.T, zero + log(0.25))
    return likelihood + rows(z, zero[..., :2], zero[..., :2]) - rows(z, mu, logvar), exact


def test_bounds_rise_to_the_exact_likelihood() -> None:
    log_weights, exact = linear_gaussian(8192, seed=1)
    means = [float(importance_weighted_bound(log_weights.view(k, -1)).mean()) for k in (1, 4, 32, 512)]
    assert means == sorted(means)
    assert means[0] == pytest.approx(float(log_weights.mean()), abs=1e-4)
    assert means[0] < float(exact.mean()) - 0.05
    torch.testing.assert_close(importance_weighted_bound(log_weights), exact, atol=0.1, rtol=0)
    assert float(importance_weighted_bound(log_weights).mean()) == pytest.approx(float(exact.mean()), abs=0.02)


def test_one_sample_gives_its_weight_and_no_overflow() -> None:
    log_weights = torch.tensor([[-4000.0, 900.0]])
    assert torch.equal(importance_weighted_bound(log_weights), log_weights[0])
    torch.testing.assert_close(importance_weighted_bound(log_weights.repeat(3, 1)), log_weights[0])
