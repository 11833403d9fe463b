"""How cost grows: with the number of images, their height, the nets' width, the batch, and sampling steps.

Images are noise, as cost does not depend on what they show. First, training and reading of 60,000 images against 6,000.
Then a model of cost: a step takes a fixed time and its operations over a rate, both fitted to the smallest and the
largest of three sizes; what it says of the one between is held to what that takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from condgen.bench import AGAIN, Comparison, Group, Side, Work, digits, gflop_per_image, in_turns, warm_up
from condgen.cli.bench_works import loading, sampling, training
from experiments.bench.settings import FULL, Part, Rows, Setting, compared

MODEL = ["-c", "model/ddpm.yaml", "--model.net.attention=[]"]
SWEEPS: dict[str, dict[str, list[str]]] = {
    "height": {f"{side} px": [*MODEL, f"--data.path={side}"] for side in (16, 32, 64)},
    "width": {f"width {width}": [*MODEL, "--data.path=32", f"--model.net.width={width}"] for width in (16, 32, 64)},
    "batch": {f"batch {size}": [*MODEL, "--data.path=32", f"--data.batch_size={size}"] for size in (8, 16, 32)},
    "sampling steps": {
        f"{steps} steps": [*MODEL, "--data.path=16", "--model.sample_chunk=16", f"--model.sampler.steps={steps}"]
        for steps in (5, 10, 20)
    },
}
"""Three sizes of each; `data.path` stands for the height of the images."""
LARGE = 60_000
"""Images of the larger set; the smaller one has a tenth."""


class Step(NamedTuple):
    """What one step of a size takes."""

    gflop: float
    ms: float
    images: int
    contended: bool


def images(folder: Path, count: int, side: int = 32) -> Path:
    """Write noise with labels; return the file."""
    path, source = folder / f"{count}-{side}.npz", np.random.default_rng(0)
    if not path.is_file():
        pixels = source.integers(0, 256, (count, side, side), dtype=np.uint8)
        np.savez(path, images=pixels, labels=np.arange(count) % 10)
    return path


def data_growth(setting: Setting) -> Group:
    """Compare training, and reading alone, of many images with few."""
    common = ["-c", "trainer/default.yaml", "-c", "model/mlp_vae.yaml"]
    many = 1000 if setting.smoke else LARGE
    few = many // 10

    def cli(count: int) -> Any:
        return setting.built(*common, "--data=ImageArrays", f"--data.path={images(setting.folder, count)}")

    def trained(count: int) -> Work:
        return training(cli(count))

    def read(count: int) -> Work:
        return loading(cli(count))

    sides = {
        f"training on {many:,}": Side(partial(trained, many)),
        AGAIN: Side(partial(trained, many)),
        f"training on {few:,}": Side(partial(trained, few)),
        f"reading {many:,}": Side(partial(read, many), counted=False),
        f"reading {few:,}": Side(partial(read, few), counted=False),
    }
    comparisons = [
        Comparison(f"{what} {many:,}", f"{what} {few:,}", f"{what} ten times the images")
        for what in ("training on", "reading")
    ]
    return Group("cost of an image as the set grows", sides, comparisons)


def sweep(name: str, setting: Setting) -> Rows:
    """Time all sizes of a sweep in turns, fit the model of cost, and say how far off it is."""
    works: dict[str, Work] = {}
    for size, flags in SWEEPS[name].items():
        side = next(flag.partition("=")[2] for flag in flags if flag.startswith("--data.path="))
        where = f"--data.path={images(setting.folder, 2000, int(side))}"
        args = ["-c", "trainer/default.yaml", "--data=ImageArrays", *flags, where, f"--trainer.precision={FULL}"]
        cli = setting.built(*args)
        works[size] = sampling(cli)[1] if name == "sampling steps" else training(cli)
    for work in works.values():
        warm_up(work)
    timings = in_turns(works, rounds=setting.protocol.rounds, seconds=setting.protocol.seconds)
    found = {}
    for size, work in works.items():
        cost, block, timing = gflop_per_image(work), timings[size].blocks[0], timings[size]
        count = block.images // block.steps
        found[size] = Step(cost * count, timing.ms_per_step, count, timing.contended)
        work.close()
    return rows_of(name, found)


def rows_of(name: str, found: dict[str, Step]) -> Rows:
    """Fit the smallest and the largest; predict the one between."""
    small, middle, large = found.values()
    rate = (large.gflop - small.gflop) / (large.ms - small.ms)
    fixed = small.ms - small.gflop / rate
    predicted = fixed + middle.gflop / rate
    rows: Rows = [
        {
            "work": f"cost of a step as the {name} grows",
            "comparison": size,
            "ours": digits(1000 * step.images / step.ms),
            "peer": None,
            "ratio": None,
            "gflop_per_step": digits(step.gflop),
            "ms_per_step": digits(step.ms),
            "contended": step.contended,
        }
        for size, step in found.items()
    ]
    rows[1] |= {"predicted_ms": digits(predicted), "error": round(predicted / middle.ms - 1, 3)}
    for row in rows:
        row |= {"fixed_ms": digits(fixed), "gflop_per_ms": digits(rate)}
    return rows


PARTS: Mapping[str, Part] = {
    "growth/images": compared(data_growth),
    **{f"growth/{name.replace(' ', '_')}": partial(sweep, name) for name in SWEEPS},
}
