"""Precision, recall, density and coverage against published formulas, with ties, and against torch-fidelity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from metric_inputs import fill, gaussian
from torch import Tensor

from condgen.metrics import PRDC, neighbours
from condgen.metrics.intervals import everyone, random_halves
from condgen.metrics.manifold import prdc
from condgen.metrics.neighbours import nearest, nearest_others


def numpy_prdc(real: np.ndarray, fake: np.ndarray, k: int) -> list[float]:
    """The published formulas: Kynkäänniemi et al. 2019, Eq. 1 and 2; the code of Naeem et al. 2020."""
    distance = lambda a, b: np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))  # noqa: E731
    radius_r, radius_f = (np.sort(distance(s, s), axis=1)[:, k] for s in (real, fake))
    d = distance(real, fake)
    return [
        float((d <= radius_r[:, None]).any(axis=0).mean()),
        float((d <= radius_f[None]).any(axis=1).mean()),
        float((d < radius_r[:, None]).sum(axis=0).mean() / k),
        float((d.min(axis=1) < radius_r).mean()),
    ]


def check(real: Tensor, fake: Tensor, k: int) -> None:
    """Compare counts, not rounded shares."""
    sizes = np.array([len(fake), len(real), len(fake) * k, len(real)])
    expected = np.array(numpy_prdc(real.double().numpy(), fake.double().numpy(), k)) * sizes
    got = prdc(real, fake, k, everyone(fake))[:, 0].numpy() * sizes
    assert got.round(6).tolist() == expected.round(6).tolist()


@pytest.mark.parametrize(("n", "m", "k", "shift"), [(60, 60, 3, 0.0), (80, 50, 5, 0.5), (40, 90, 1, 3.0)])
def test_counts_equal_the_published_formulas(n: int, m: int, k: int, shift: float) -> None:
    check(gaussian(n, 6, 1), gaussian(m, 6, 1, shift), k)


@pytest.mark.parametrize("seed", range(8))
def test_ties_are_counted_exactly(seed: int) -> None:
    """Features on a lattice far from zero, copied images, and copies of real images among the samples."""
    source = torch.Generator().manual_seed(seed)
    lattice = torch.randint(0, 3, (150, 5), generator=source).float() + 1000.0
    check(lattice[:80], lattice[70:], 3)
    real = gaussian(60, 40, seed, shift=50.0)
    fake = torch.cat([real[:30], real[:10], gaussian(40, 40, seed + 1, shift=50.0)])
    check(real, fake, 3)
    check(torch.cat([real, real]), fake, 1)
    check(real, real[:1].repeat(20, 1), 2)


def test_blocks_do_not_change_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = gaussian(70, 6, 1), gaussian(90, 6, 1, 0.2)
    whole = prdc(real, fake, 3, everyone(fake))
    monkeypatch.setattr(neighbours, "CELLS", 200)
    monkeypatch.setattr(neighbours, "ROWS", 1)
    monkeypatch.setattr(neighbours, "COLUMNS", 32)
    monkeypatch.setattr("condgen.metrics.manifold.PAIRS", 7)
    assert torch.equal(prdc(real, fake, 3, everyone(fake)), whole)
    check(real, fake, 3)


def test_no_more_distances_are_held_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CELLS", 2**12)
    monkeypatch.setattr(neighbours, "ROWS", 1)
    monkeypatch.setattr(neighbours, "COLUMNS", 64)
    real, fake = gaussian(600, 32, 1), gaussian(500, 32, 2)
    largest = LargestTensor()
    with largest:
        prdc(real, fake, 3, everyone(fake))
    assert 2**12 / 2 < largest.numel <= max(2 * 2**12, real.numel())


class LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes the largest result of any operation."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, Tensor) and not func.is_view:
                self.numel = max(self.numel, value.numel())
        return out


def test_precision_and_recall_equal_torch_fidelity() -> None:
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    real, fake = gaussian(200, 16, 1), 1.15 * gaussian(200, 16, 1, 0.6)
    theirs = calculate_precision_recall_full(fake.double(), real.double(), neighborhood=3)
    scores = fill(PRDC(k=3), real, fake)
    assert (scores["precision"], scores["recall"]) == pytest.approx(theirs, rel=1e-6)
    assert 0.1 < min(theirs) < max(theirs) < 1


def test_sets_of_samples_are_scored_as_if_alone() -> None:
    real, fake = gaussian(90, 6, 1), gaussian(101, 6, 1, 0.4)
    member = random_halves(fake, None)
    together = prdc(real, fake, 3, member)
    for column, chosen in zip(together.T, member.T, strict=True):
        alone = prdc(real, fake[chosen], 3, everyone(fake[chosen]))
        assert column.tolist() == pytest.approx(alone[:, 0].tolist(), abs=1e-12)


def test_it_averages_draws_of_equal_size() -> None:
    real, fake = gaussian(60, 6, 1), gaussian(500, 6, 1)
    one, ten = fill(PRDC(draws=1), real, fake), fill(PRDC(draws=10), real, fake)
    assert fill(PRDC(draws=10), real, fake) == ten != one
    assert round(ten["precision"] * 60 * 10) == pytest.approx(ten["precision"] * 600, abs=1e-6)
    assert fill(PRDC(draws=1), real, fake[:60]) == fill(PRDC(draws=10), real, fake[:60])


def test_a_collapsed_generator_is_precise_but_has_no_recall() -> None:
    real = gaussian(300, 6, 1)
    scores = fill(PRDC(), real, real[:1] + 1e-3 * gaussian(300, 6, 2))
    assert scores["precision"] > 0.9
    assert scores["recall"] < 0.05
    assert scores["coverage"] < 0.2
    constant = fill(PRDC(k=3), real, torch.ones(150, 6))
    assert all(np.isfinite(value) for value in constant.values())
    assert constant["recall"] == 0.0


def test_nearest_rows_are_exact_where_rounding_would_hide_them() -> None:
    x = gaussian(40, 30, 1, shift=1e3)
    x[7], x[20] = x[3], x[3]
    squared, index = nearest_others(x, 3)
    assert squared[3, :2].tolist() == [0.0, 0.0]
    assert set(index[3, :2].tolist()) == {7, 20}
    assert not (index == torch.arange(40)[:, None]).any()
    expected = torch.cdist(x.double(), x.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
    assert torch.allclose(nearest(x, x, 4)[0], expected.sort(dim=1).values[:, :4], rtol=1e-12, atol=0)


def test_senseless_settings_and_too_few_images_are_refused() -> None:
    for settings in ({"k": 0}, {"draws": 0}, {"k": 5, "subset_size": 5}):
        with pytest.raises(ValueError, match="PRDC needs"):
            PRDC(**settings)
    with pytest.raises(ValueError, match="more than k=5 images on each side, got 5"):
        fill(PRDC(), gaussian(9, 4, 1), gaussian(5, 4, 1))
