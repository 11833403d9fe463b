"""How cost grows: with the number of images, their height, the nets' width, the batch, and sampling steps.

python -m experiments.bench.growth [--json FILE]

Images are noise, as cost does not depend on what they show. First, training and reading of 60,000 images against 6,000.
Then a model of cost: a step takes a fixed time and its operations over a rate, both fitted to the smallest and the
largest of three sizes; what it says of the one between is held to what that takes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from condgen.bench import Work, gflop_per_image, in_turns, machine, markdown, peaks, pin, warm_up, write_json
from condgen.bench.figures import digits
from condgen.cli.bench_works import loading, sampling, steady, training
from experiments.bench.compare import Comparison, Group, Side, measure, options

HERE = Path(__file__).parent
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
COLUMNS = {
    "sweep": "what grows",
    "size": "to",
    "gflop_per_step": "GFLOP/step",
    "ms_per_step": "ms/step",
    "predicted_ms": "predicted",
    "error": "error",
    "contended": "contended",
}


class Step(NamedTuple):
    """What one step of a size takes."""

    gflop: float
    ms: float
    contended: bool


def images(folder: Path, count: int, side: int = 32) -> Path:
    """Write noise with labels; return the file."""
    path, source = folder / f"{count}-{side}.npz", np.random.default_rng(0)
    if not path.is_file():
        pixels = source.integers(0, 256, (count, side, side), dtype=np.uint8)
        np.savez(path, images=pixels, labels=np.arange(count) % 10)
    return path


def data_growth(folder: Path, counts: tuple[int, int]) -> Group:
    """Compare training, and reading alone, of many images with few."""
    common = ["-c", "trainer/default.yaml", "-c", "model/mlp_vae.yaml", "--trainer.accelerator=cpu"]

    def cli(count: int) -> Any:
        return steady([*common, "--data=ImageArrays", f"--data.path={images(folder, count)}"], folder / "runs")

    few, many = counts
    sides = {
        f"training on {many:,}": Side(lambda: training(cli(many))),
        "again": Side(lambda: training(cli(many))),
        f"training on {few:,}": Side(lambda: training(cli(few))),
        f"reading {many:,}": Side(lambda: loading(cli(many))),
        f"reading {few:,}": Side(lambda: loading(cli(few))),
    }
    comparisons = [
        Comparison(f"training on {many:,}", f"training on {few:,}", "ten times the images"),
        Comparison(f"reading {many:,}", f"reading {few:,}", "ten times the images"),
    ]
    return Group("cost of an image as the set grows", sides, comparisons)


def steps_of(sweep: dict[str, list[str]], folder: Path, rounds: int, seconds: float, sampled: bool) -> dict[str, Step]:
    """Time all sizes of a sweep in turns."""
    works: dict[str, Work] = {}
    for size, flags in sweep.items():
        side = next(flag.partition("=")[2] for flag in flags if flag.startswith("--data.path="))
        where = f"--data.path={images(folder, 2000, int(side))}"
        args = ["-c", "trainer/default.yaml", "--data=ImageArrays", *flags, where, "--trainer.accelerator=cpu"]
        cli = steady(args, folder / "runs")
        works[size] = sampling(cli)[1] if sampled else training(cli)
    for work in works.values():
        warm_up(work)
    timings = in_turns(works, rounds=rounds, seconds=seconds)
    found = {}
    for size, work in works.items():
        cost, block = gflop_per_image(work), timings[size].blocks[0]
        found[size] = Step(cost * block.images / block.steps, timings[size].ms_per_step, timings[size].contended)
        work.close()
    return found


def rows_of(name: str, found: dict[str, Step]) -> list[dict[str, Any]]:
    """Fit the smallest and the largest; predict the one between."""
    small, middle, large = found.values()
    rate = (large.gflop - small.gflop) / (large.ms - small.ms)
    fixed = small.ms - small.gflop / rate
    predicted = fixed + middle.gflop / rate
    rows: list[dict[str, Any]] = [
        {
            "sweep": name,
            "size": size,
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000, help="the larger of the two sets")
    parser.add_argument("--sweeps", default=",".join(SWEEPS))
    options(parser, "growth")
    args = parser.parse_args()
    pin(1)
    limit, rows = peaks(), []
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = measure(data_growth(folder, (args.images // 10, args.images)), limit, args.rounds, args.seconds)
        sweeps: list[dict[str, Any]] = []
        for sweep in args.sweeps.split(","):
            found = steps_of(SWEEPS[sweep], folder, args.rounds, args.seconds, sweep == "sampling steps")
            sweeps += rows_of(sweep, found)
            print(markdown(sweeps, COLUMNS), flush=True)
    write_json(args.json, {"machine": machine(), "peaks": limit, "rows": rows, "sweeps": sweeps})
    for row in rows:
        print(f"{row['peer_name']}: {row['ratio']} ({row['ratio_min_max']}) of the images/s with ten times as many")


if __name__ == "__main__":
    main()
