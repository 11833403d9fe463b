from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from condgen.seeding import derive, generator, noise_per_seed, run_seed, seed_batch


def test_keys_give_fixed_and_distinct_seeds() -> None:
    assert derive(0, 1, "latent") == derive(0, 1, "latent") == 211269049079004730
    keys = [(seed, rank, batch, name) for seed in range(3) for rank in range(3) for batch in range(50) for name in "ab"]
    assert len({derive(*key) for key in keys}) == len(keys)
    assert derive("1", 2) != derive(1, 2) != derive(12)


def test_seeding_a_batch_fixes_every_global_generator() -> None:
    cpu = torch.device("cpu")

    def draws() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002

    seed_batch(rank=0, batch=7, device=cpu)
    first = draws()
    seed_batch(rank=1, batch=7, device=cpu)
    other_rank = draws()
    seed_batch(rank=0, batch=7, device=cpu)
    assert draws() == first
    assert all(a != b for a, b in zip(first, other_rank, strict=True))


def test_the_run_seed_is_lightnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "41")
    assert run_seed() == 41
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert run_seed() == 0


def test_noise_of_a_seed_does_not_depend_on_its_company() -> None:
    alone = noise_per_seed(torch.tensor([7]), (3, 5))
    among = noise_per_seed(torch.tensor([9, 7, 0, 7]), (3, 5))
    assert torch.equal(among[1], alone[0])
    assert torch.equal(among[3], alone[0])
    assert not torch.equal(among[0], among[2])


def test_noise_is_standard_normal() -> None:
    noise = noise_per_seed(torch.arange(2000), (16,))
    assert abs(float(noise.mean())) < 4 / (2000 * 16) ** 0.5
    assert abs(float(noise.var()) - 1.0) < 4 * (2 / (2000 * 16)) ** 0.5
    correlation = torch.corrcoef(torch.stack([noise[:-1].flatten(), noise[1:].flatten()]))[0, 1]
    assert abs(float(correlation)) < 4 / (1999 * 16) ** 0.5


@pytest.mark.parametrize("seeds", [torch.tensor([0.5]), torch.tensor([[1]]), torch.tensor([], dtype=torch.int64)])
def test_seeds_of_the_wrong_kind_are_refused(seeds: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"seeds must be \(N,\) int64"):
        noise_per_seed(seeds, (2,))


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="got -3"):
        noise_per_seed(torch.tensor([1, -3]), (2,))


def test_generators_are_fresh() -> None:
    assert torch.equal(torch.rand(3, generator=generator("a", 1)), torch.rand(3, generator=generator("a", 1)))
