"""Training of DCGAN and DDPM on shapes of CIFAR-10, on a GPU: precision, compiled nets, and batches of many sizes.

Images are noise. Shares are those of the card's own rate of large matrix products, measured in the same process.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from condgen.bench import AGAIN, Comparison, Group, Side, Work, measure, peaks
from condgen.cli.bench_works import steady, training
from experiments.bench.levers import MODELS
from experiments.bench.settings import FULL, HALF, Part, Rows, Setting

SIZES = (64, 256, 1024)
WIDE = {
    "dcgan": ["--model.generator.width=64", "--model.discriminator.width=64"],
    "ddpm": ["--model.net.width=128", "--model.net.multipliers=[1,2,2,2]", "--model.net.blocks=2"],
}
"""Nets as papers have them for CIFAR-10."""
TINY = {"dcgan": [], "ddpm": ["--model.net.width=8"]}


def trained(model: str, setting: Setting) -> Rows:
    """Compare precisions, compiled nets and sizes of the batch."""
    device = "cpu" if setting.smoke else "cuda"
    if not setting.smoke and not torch.cuda.is_available():
        raise RuntimeError("there is no GPU here")
    path = setting.folder / "noise.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (5000, 32, 32, 3), dtype=np.uint8)
    np.savez(path, images=pixels, labels=np.arange(len(pixels)) % 10)
    config = ["-c", "trainer/default.yaml", "-c", f"model/{model}.yaml", "--data=ImageArrays", f"--data.path={path}"]
    config += TINY[model] if setting.smoke else WIDE[model]
    compiled = f"--compile.nets={MODELS[model][1]}"

    def work(batch: int, precision: str, *flags: str) -> Work:
        where = [f"--trainer.accelerator={device}", f"--data.batch_size={batch}", f"--trainer.precision={precision}"]
        return training(steady([*config, *where, *flags], setting.folder / "runs"))

    rows: Rows = []
    limit = peaks(device)
    for batch in (4,) if setting.smoke else SIZES:
        sides = {name: Side(partial(work, batch, HALF), HALF) for name in ("bf16", AGAIN)}
        sides["fp32"] = Side(partial(work, batch, FULL), FULL)
        if not setting.smoke:
            sides["bf16, compiled"] = Side(partial(work, batch, HALF, compiled), HALF)
        comparisons = [Comparison("bf16", "fp32", f"bf16, batch {batch}")]
        comparisons += [Comparison("bf16, compiled", "bf16", f"compiled, batch {batch}")] if not setting.smoke else []
        group = Group(f"{model} training, 3x32x32", sides, comparisons)
        rows += measure(group, setting.protocol._replace(limit=limit, one_core=False))
    return rows


PARTS: Mapping[str, Part] = {f"gpu/{model}": partial(trained, model) for model in WIDE}
