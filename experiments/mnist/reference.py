"""What scores mean on MNIST: the floor of the distance, its value for spoilt images, and what real images get."""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from condgen.data import MNIST
from condgen.metrics import Evaluator, MNISTExtractor, classification_accuracy_score
from condgen.seeding import generator

N = 10_000
FEW = 2000
SEEDS = 5
CLEARLY_WORSE = 10
"""Floors by which the distance must tell a spoilt set from a real one."""


def spoilt(pixels: Tensor, label: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return image sets that a score must tell from real ones."""
    noise = 32 * torch.randn(pixels.shape, generator=generator("noisy"))
    first = torch.stack([(label == digit).nonzero()[0, 0] for digit in range(10)]).repeat(len(pixels) // 10)
    return {
        "blurred": (gaussian_blur(pixels, [5, 5], [1.0, 1.0]), label),
        "noisy": ((pixels + noise).round().clamp(0, 255).to(torch.uint8), label),
        "one image per class": (pixels[first], label[first]),
    }


def measure_reference(root: str) -> dict[str, Any]:
    """Score training images, as they are and spoilt, in the place of samples.

    Raises:
        AssertionError: If the distance does not see that an image set is spoilt.
    """
    data = MNIST(root=root, download=False)
    test, train = data.images("test"), data.images("train")
    extractor = MNISTExtractor()
    evaluator = Evaluator(extractor, subset_size=2000)
    real = evaluator.extract(test.pixels, test.cond["label"])

    def score(pixels: Tensor, label: Tensor) -> dict[str, float]:
        scores = evaluator.score(real, evaluator.extract(pixels, label)).scores
        return {name: value.value for name, value in scores.items()}

    def draws(n: int) -> list[Tensor]:
        return [torch.randperm(len(train), generator=generator("floor", seed))[:n] for seed in range(SEEDS)]

    def scores_of(n: int) -> list[dict[str, float]]:
        return [score(train.pixels[rows], train.cond["label"][rows]) for rows in draws(n)]

    rows, first = scores_of(N), draws(N)[0]
    pixels, label = train.pixels[first], train.cond["label"][first]
    floor = summary([row["fd_mnist"] for row in rows])
    worse = {name: score(*images) for name, images in spoilt(pixels, label).items()}
    for name, row in worse.items():
        multiple = row["fd_mnist"] / floor["mean"]
        assert multiple > CLEARLY_WORSE, f"{name} images are {multiple:.1f} floors away, not above {CLEARLY_WORSE}"
    cas = classification_accuracy_score(
        pixels, label, test.pixels, test.cond["label"], num_classes=10, net=extractor.new_net
    )
    return {
        "n": N,
        "fd_mnist_floor": floor,
        f"fd_mnist_floor_{FEW}": summary([row["fd_mnist"] for row in scores_of(FEW)]),
        "training_images": {name: mean(row[name] for row in rows) for name in rows[0]} | {"cas": cas.value},
        "spoilt": worse,
    }


def summary(values: list[float]) -> dict[str, Any]:
    return {"mean": mean(values), "sd": stdev(values), "values": values}
