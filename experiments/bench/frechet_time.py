"""Time the Fréchet distance of 2 x 10,000 x 2,048 features against `scipy.linalg.sqrtm`, on one core, in alternation.

OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 python experiments/bench/frechet_time.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import scipy.linalg
import torch

from condgen.metrics.frechet import Gaussian, fit_gaussian, frechet_distance

COUNT, DIM, ROUNDS = 10_000, 2048, 3


def timed(times: dict[str, list[float]], name: str, work: Callable[..., Any], *args: Any) -> Any:
    start = time.process_time()
    result = work(*args)
    times.setdefault(name, []).append(time.process_time() - start)
    return result


def covariances(*sides: torch.Tensor) -> list[np.ndarray]:
    return [np.cov(side.double().numpy().T) for side in sides]


def fit_both(*sides: torch.Tensor) -> list[Gaussian]:
    return [fit_gaussian(side) for side in sides]


def main() -> None:
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {}
    source = torch.Generator().manual_seed(0)
    mix = torch.randn(DIM, DIM, generator=source) / DIM**0.5
    x = torch.randn(COUNT, DIM, generator=source).relu()
    y = (torch.randn(COUNT, DIM, generator=source) @ mix).relu() + 0.1
    for _ in range(ROUNDS):
        gaussians = timed(times, "ours: moments and roots of both sides", fit_both, x, y)
        ours = float(timed(times, "ours: distance of the two Gaussians", frechet_distance, *gaussians))
        a, b = timed(times, "numpy.cov of both sides", covariances, x, y)
        root = timed(times, "scipy.linalg.sqrtm", scipy.linalg.sqrtm, a @ b)
        means = (x.double().mean(0) - y.double().mean(0)).square().sum()
        theirs = float(means + np.trace(a + b - 2 * root.real))
    for name, values in times.items():
        print(f"{name}: {median(values):.2f} s (median of {ROUNDS})")
    fit, distance, cov, sqrtm = (median(values) for values in times.values())
    print(f"sqrtm / ours, features to distance: {sqrtm / (fit + distance):.1f}")
    print(f"cov and sqrtm / ours, features to distance: {(cov + sqrtm) / (fit + distance):.1f}")
    print(f"sqrtm / ours, Gaussians to distance: {sqrtm / distance:.1f}")
    print(f"relative difference of the distances: {abs(ours / theirs - 1):.1e}")


if __name__ == "__main__":
    main()
