"""The arithmetic of a Fréchet distance of 2,048 features, and an extractor's features, beside what is usual.

Seconds are those of the processor. An exact case says how far off each way is: covariances that commute, with spectra
down to 1e-8, have a distance in closed form.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from condgen.bench import AGAIN, Comparison, Group, Loop, Side, Work, digits
from condgen.metrics import MNISTExtractor
from condgen.metrics.frechet import Gaussian, fit_gaussian, frechet_distance
from experiments.bench.settings import Part, Rows, Setting, compared

COUNT, DIM, ROUNDS = 10_000, 2048, 3
SQRTM = "numpy.cov, scipy.linalg.sqrtm"


def timed(times: dict[str, list[float]], name: str, work: Callable[..., Any], *args: Any) -> Any:
    """Do some work and note its seconds."""
    start = time.process_time()
    result = work(*args)
    times.setdefault(name, []).append(time.process_time() - start)
    return result


def covariances(*sides: Tensor) -> list[np.ndarray]:
    return [np.cov(side.double().numpy().T) for side in sides]


def fit_both(*sides: Tensor) -> list[Gaussian]:
    return [fit_gaussian(side) for side in sides]


def by_sqrtm(means: float, a: np.ndarray, b: np.ndarray) -> float:
    """Return the distance as scipy has it (Heusel et al. 2017)."""
    return means + float(np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real))


def features(count: int, dim: int) -> tuple[Tensor, Tensor]:
    """Return two sides of features that are positive and correlated, as an extractor's are."""
    source = torch.Generator().manual_seed(0)
    mix = torch.randn(dim, dim, generator=source) / dim**0.5
    real = torch.randn(count, dim, generator=source).relu()
    return real, (torch.randn(count, dim, generator=source) @ mix).relu() + 0.1


def exact_error(dim: int) -> float:
    """Return how far our distance is from the closed form, for covariances that commute."""
    source = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(dim, dim, generator=source, dtype=torch.float64)).Q
    spectra = [torch.logspace(0, low, dim, dtype=torch.float64) for low in (-8, -6)]
    means = torch.zeros(dim, dtype=torch.float64)
    covariances = [(basis * spectrum) @ basis.T for spectrum in spectra]
    sides = [Gaussian(means, torch.linalg.cholesky(each), each) for each in covariances]
    exact = (spectra[0].sqrt() - spectra[1].sqrt()).square().sum()
    return abs(float(frechet_distance(*sides)) - float(exact))


def arithmetic(setting: Setting) -> Rows:
    """Time the distance itself, and all from features on, in turns."""
    count, dim, rounds = (600, 64, 1) if setting.smoke else (COUNT, DIM, ROUNDS)
    x, y = features(count, dim)
    means = float((x.double().mean(0) - y.double().mean(0)).square().sum())
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        gaussians = timed(times, "fit", fit_both, x, y)
        ours = float(timed(times, "distance", frechet_distance, *gaussians))
        a, b = timed(times, "cov", covariances, x, y)
        theirs = timed(times, "sqrtm", by_sqrtm, means, a, b)
    seconds = {name: median(values) for name, values in times.items()}
    error = {"relative_difference": abs(ours / theirs - 1), "error": exact_error(dim)}
    pairs = {
        "from Gaussians": (seconds["distance"], seconds["sqrtm"]),
        "from features": (seconds["fit"] + seconds["distance"], seconds["cov"] + seconds["sqrtm"]),
    }
    return [
        {
            "work": f"Fréchet distance of {count:,} x {dim:,} features",
            "comparison": what,
            "peer_name": SQRTM,
            "ours": digits(count / own),
            "peer": digits(count / other),
            "ratio": round(other / own, 2),
            "seconds": round(own, 3),
            "peer_seconds": round(other, 3),
            "rounds": rounds,
            **error,
        }
        for what, (own, other) in pairs.items()
    ]


def extraction(setting: Setting) -> Group:
    """Compare the features of a chunk with those of the same net in torch's own layout."""
    pixels = torch.randint(256, (250, 1, 32, 32), dtype=torch.uint8)

    def work(layout: torch.memory_format) -> Work:
        extractor = MNISTExtractor().to(memory_format=layout)
        return Loop(lambda: len(extractor(pixels)))

    sides = {name: Side(partial(work, torch.channels_last)) for name in ("condgen", AGAIN)}
    sides["channels first"] = Side(partial(work, torch.contiguous_format))
    return Group("features of the MNIST extractor", sides, [Comparison("condgen", "channels first", "layout")])


PARTS: Mapping[str, Part] = {"evaluation/frechet": arithmetic, "evaluation/features": compared(extraction)}
