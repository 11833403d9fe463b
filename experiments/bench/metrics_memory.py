"""Peak memory and processor time of every metric on 2 x 50,000 x 2,048 features, all images of both sides compared.

python experiments/bench/metrics_memory.py [PRDC ...]      # some of them alone, each process having a peak of its own
"""

from __future__ import annotations

import resource
import sys
import time

import torch

from condgen.metrics import (
    PRDC,
    DistributionMetric,
    Diversity,
    FrechetDistance,
    InceptionScore,
    IntraClassFrechetDistance,
    KernelDistance,
)

COUNT, DIM, CLASSES = 50_000, 2048, 1000


def main() -> None:
    source = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(COUNT, DIM, generator=source).relu_() for _ in range(2))
    fake *= 1.02
    head = torch.randn(DIM, CLASSES, generator=source) / 50
    label = torch.arange(COUNT) % 10
    print(f"features alone: peak {peak():.2f} GiB", flush=True)
    metrics: list[DistributionMetric] = [
        KernelDistance(),
        InceptionScore(lambda x: x @ head),
        Diversity(),
        FrechetDistance(),
        IntraClassFrechetDistance(),
        PRDC(),
    ]
    wanted = sys.argv[1:]
    for metric in [metric for metric in metrics if not wanted or type(metric).__name__ in wanted]:
        start = time.process_time()
        metric.update(real, label, real=True)
        metric.update(fake, label, real=False)
        scores = {name: float(f"{float(value):.5g}") for name, value in metric.compute().items()}
        metric.reset()
        seconds = time.process_time() - start
        print(f"{type(metric).__name__}: peak so far {peak():.2f} GiB, {seconds:.0f} s, {scores}", flush=True)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
