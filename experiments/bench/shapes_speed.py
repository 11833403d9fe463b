"""Images per second of processor time, on one thread, that the drawn shapes make, and that their checker measures.

OMP_NUM_THREADS=1 python experiments/bench/shapes_speed.py
"""

from __future__ import annotations

import time
from statistics import median

import torch

from condgen.data import Shapes
from condgen.data.shapes import measure

COUNT, ROUNDS = 10_000, 3
ALL = ("label", "attributes", "text", "mask", "source", "low_res")


def rate(conditions: tuple[str, ...], source: str) -> float:
    images = Shapes(n_train=COUNT, conditions=conditions, source=source).drawn["train"]  # type: ignore[arg-type]
    start = time.process_time()
    images.take(torch.arange(COUNT))
    return COUNT / (time.process_time() - start)


def checked() -> float:
    pixels = Shapes(n_train=COUNT).images("train").all().pixels
    start = time.process_time()
    measure(pixels)
    return COUNT / (time.process_time() - start)


def main() -> None:
    torch.set_num_threads(1)
    for title, conditions, source in (
        ("label", ("label",), "edges"),
        ("all, edges", ALL, "edges"),
        ("all, sketch", ALL, "sketch"),
    ):
        print(f"{title}: {median(rate(conditions, source) for _ in range(ROUNDS)):,.0f} images/s")
    print(f"checker: {median(checked() for _ in range(ROUNDS)):,.0f} images/s")


if __name__ == "__main__":
    main()
