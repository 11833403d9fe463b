"""Train all families on CIFAR-10: on a GPU for ten minutes each, or elsewhere for a few steps as a check.

python -m experiments.cifar10.run --root FILE --extractor FILE [--devices N]     # on GPUs: rows with scores
python -m experiments.cifar10.run --root FILE --steps 200 --batch-size 8         # anywhere: does it run?

FILE of --root is the zip file of JPEGs that `data/cifar10_jpeg.yaml` reads; the extractor is one that
`experiments/extractors/train.py cifar10_jpeg` wrote. Writes results.json, grids/ and the table in README.md; a check
writes check.json, and no row of results.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import time
from math import isfinite
from pathlib import Path
from typing import Any

from experiments.results import condgen, into_readme, machine, newest, write_json

HERE = Path(__file__).parent
MODELS = {"dcgan": "DCGAN", "resnet_gan": "residual GAN", "vae": "VAE", "ddpm": "DDPM"}
COLUMNS = ("label accuracy", "fd", "precision", "recall", "coverage")


def fit(model: str, args: argparse.Namespace, *options: str) -> tuple[Path, float]:
    start, name = time.perf_counter(), f"cifar10-{model}"
    configs = ("-c", str(HERE / f"{model}.yaml"), "-c", "data/cifar10_jpeg.yaml")
    where = ("--data.root", str(Path(args.root).resolve()), "--runs", str(args.runs), "--name", name)
    condgen("fit", *configs, *where, *options)
    return newest(args.runs, name), time.perf_counter() - start


def losses(run: Path) -> dict[str, float]:
    """Return the losses that were logged last."""
    with (run / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    return {key: float(value) for key, value in last.items() if key.startswith("train/") and value}


def check(model: str, args: argparse.Namespace) -> dict[str, Any]:
    options = ["--trainer.max_steps", str(args.steps), "--trainer.limit_val_batches", "0", "--data.batch_size",
               str(args.batch_size), "--trainer.precision", "32-true", "--model.sample_chunk", "10",
               "--grid.columns", "2"]  # fmt: skip
    run, seconds = fit(model, args, *options)
    found = losses(run)
    assert all(isfinite(value) for value in found.values()), f"{model}: {found}"
    return {"model": model, "steps": args.steps, "batch_size": args.batch_size, "seconds": round(seconds, 1), **found}


def row(model: str, args: argparse.Namespace) -> dict[str, Any]:
    judge = ["--evaluation.extractor", "condgen.metrics.ClassifierExtractor", "--evaluation.extractor.path",
             str(Path(args.extractor).resolve())]  # fmt: skip
    ten_minutes = ["--trainer.max_time", "00:00:10:00", "--trainer.limit_val_batches", "0"]
    run, seconds = fit(model, args, *judge, *ten_minutes, "--trainer.devices", str(args.devices))
    name = f"cifar10-{model}-scores"
    condgen("test", "-c", str(run), "--ckpt_path", str(run), "--runs", str(args.runs), "--name", name,
            "--trainer.devices", "1")  # fmt: skip
    result = json.loads((newest(args.runs, name, "-test") / "metrics.json").read_text())
    (HERE / "grids").mkdir(exist_ok=True)
    shutil.copy(max((run / "samples").iterdir()), HERE / "grids" / f"{model}.png")
    images = result["protocol"]["images_seen"]
    return {"model": model, "train_minutes": round(seconds / 60, 2), "images_seen": images,
            "images_per_second": round(images / seconds), "machine": machine(), **result}  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """One line per model, empty where it is yet to be trained."""
    lines = [f"| model | minutes | images per second | {' | '.join(COLUMNS)} |", "| --- " + "| ---: " * 7 + "|"]
    for model, name in MODELS.items():
        cells = [""] * 7
        for found in (other for other in rows if other["model"] == model):
            scores = {key.partition("_")[0]: score["value"] for key, score in found["scores"].items()}
            shown = [f"{scores[column.partition(' ')[0]]:.3f}" for column in COLUMNS]
            cells = [f"{found['train_minutes']:.1f}", f"{found['images_per_second']:,}", *shown]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="zip file or folder of the JPEGs")
    parser.add_argument("--extractor", help="a classifier of CIFAR-10, for scores")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--steps", type=int, help="check this number of steps")
    parser.add_argument("--batch-size", type=int, default=8, help="in a check")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    args = parser.parse_args()
    args.runs = args.runs.resolve()
    if not args.steps and not args.extractor:
        parser.error("give --extractor for scores, or --steps for a check")
    path, make = (HERE / "check.json", check) if args.steps else (HERE / "results.json", row)
    for model in args.models.split(","):
        found = json.loads(path.read_text()) if path.is_file() else {"rows": []}
        rows = [other for other in found["rows"] if other["model"] != model]
        rows.append(make(model, args))
        write_json(path, {"rows": rows} | ({"machine": machine()} if args.steps else {}))
        if not args.steps:
            into_readme("cifar10", table(rows), HERE / "README.md")


if __name__ == "__main__":
    main()
