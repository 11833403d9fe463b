"""The same samples from one process and from two, which each draw their share, for five numbers asked for.

Models of four families; 20 seeds a trial. A share begins and ends within a chunk, and chunks are of 16 images here, so
that most images stand in other chunks, at other places, beside other images.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch

from condgen.callbacks.samples import draw_samples
from condgen.checkpoints import load_model
from condgen.data import Digits
from condgen.models import GenerativeModel
from experiments.soak.runs import FAMILIES, fit, in_child

TRIALS = 50
SIZES = (1, 3, 8, 17, 20)
NAMES = ("cgan", "dcgan", "vae", "ddpm")


def prepare(folder: Path) -> dict[str, GenerativeModel]:
    runs = {name: fit(folder / name, *FAMILIES[name], "--trainer.max_steps", "5") for name in NAMES}
    return {name: cast(GenerativeModel, load_model(run)) for name, run in runs.items()}


def trial(seed: int, prepared: dict[str, GenerativeModel], folder: Path) -> dict[str, Any]:
    images = 0
    for name, model in prepared.items():
        model.sample_chunk = 16
        for n in SIZES:
            alone = drawn(model, n, 20 * seed, 0, 1)
            shares = [shared(model, n, 20 * seed, rank, folder / f"{name}-{n}-{rank}") for rank in range(2)]
            assert shares[0] + shares[1] == alone, f"{name}: {n} images from seed {20 * seed} on differ"
            images += n
    return {"seeds": max(SIZES), "images": images}


def shared(model: GenerativeModel, n: int, first_seed: int, rank: int, file: Path) -> list[str]:
    """Let a process of its own draw its share."""

    def work() -> int:
        file.write_text(json.dumps(drawn(model, n, first_seed, rank, 2)))
        return 0

    assert in_child(work) == 0
    return cast(list[str], json.loads(file.read_text()))


def drawn(model: GenerativeModel, n: int, first_seed: int, rank: int, processes: int) -> list[str]:
    """Return a hash of each image of a process's share."""
    trainer = cast(Any, SimpleNamespace(global_rank=rank, world_size=processes))
    if n // processes + (rank < n % processes) == 0:
        return []
    samples = draw_samples(trainer, model, n, first_seed, lambda: Digits().images("test"))
    assert samples.pixels.dtype == torch.uint8
    return [sha256(image.numpy().tobytes()).hexdigest() for image in samples.pixels]
