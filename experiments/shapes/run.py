"""Train on drawn shapes under each kind of condition, and measure whether the condition was obeyed.

python -m experiments.shapes.run [--models text_ddpm,super_ddpm] [--seed 0] [--trained RUN]

A row is one manifest of this folder and one seed; those that results.json holds already are skipped. `--trained` scores
a run that was made before by `condgen fit -c experiments/shapes/NAME.yaml --seed_everything SEED`. Writes
results.json, results.md and grids/ beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from condgen.data import Shapes
from condgen.data.decode import to_tensor
from condgen.metrics import Obedience, PairedError, ShapesMask
from condgen.pictures import to_pil
from experiments.results import condgen, machine, newest, write_json

HERE = Path(__file__).parent
SEEN = {"seen pairs": [], "pairs never shown": ["--data.test_held_out", "true"]}
FAMILIES = ("ddpm", "dcgan", "vae")
TESTS: dict[str, dict[str, list[str]]] = {
    **{f"text_{family}": SEEN for family in FAMILIES},
    "text_two_ddpm": {"": []},
    **{f"{cond}_{family}": {"": []} for cond in ("attributes", "mask", "super") for family in FAMILIES},
}
"""Manifests, and the ways in which each is tested."""


def train(model: str, seed: int, runs: Path) -> Path:
    condgen(
        "fit", "-c", str(HERE / f"{model}.yaml"), "--seed_everything", str(seed), "--runs", str(runs), "--name", model
    )
    return newest(runs, model)


def make_row(model: str, seed: int, run: Path, runs: Path) -> dict[str, Any]:
    tests = {}
    for title, args in TESTS[model].items():
        name = f"{model}-scores"
        condgen("test", "-c", str(run), "--ckpt_path", str(run), "--runs", str(runs), "--name", name, *args)
        found = json.loads((newest(runs, name, "-test") / "metrics.json").read_text())
        tests[title] = {"scores": found["scores"], "protocol": found["protocol"] | {"checkpoint": None}}
        cost = found["cost"]
    (HERE / "grids").mkdir(exist_ok=True)
    shutil.copy(max((run / "samples").glob("*.png")), HERE / "grids" / f"{model}.png")
    if (run / "samples" / "rows.txt").is_file():
        shutil.copy(run / "samples" / "rows.txt", HERE / "grids" / f"{model}.txt")
    return {"model": model, "seed": seed, "cost": cost, "tests": tests, "machine": machine()}


def bicubic() -> dict[str, float]:
    """What enlarging by Pillow's bicubic filter gets on the test images."""
    rows = Shapes(conditions=["low_res"]).images("test").all().take(torch.arange(1000))
    large = [to_tensor(to_pil(x).resize((32, 32), Image.Resampling.BICUBIC)) for x in rows.cond["low_res"]]
    return scores(PairedError(), torch.stack(large), {}, rows.pixels)


def other_masks() -> dict[str, float]:
    """What real images get beside the masks of others: the score of a generator that ignores its mask."""
    rows = Shapes(conditions=["mask"]).images("test").all().take(torch.arange(1000))
    return scores(ShapesMask(), rows.pixels, {"mask": rows.cond["mask"].roll(1, 0)}, None)


def scores(metric: Obedience, images: Any, cond: Any, target: Any) -> dict[str, float]:
    metric.update(images, cond, target)
    return {name: round(float(value), 4) for name, value in metric.compute().items()}


def report(results: dict[str, Any]) -> str:
    lines = ["| manifest | test | training minutes | score | value | 95% interval | real images |"]
    lines.append("| --- | --- | ---: | --- | ---: | ---: | ---: |")
    for row in results["rows"]:
        minutes = (row["cost"]["training_seconds"] or 0) / 60
        for title, test in row["tests"].items():
            for name, score in test["scores"].items():
                ends = f"{score['low']:.3f} to {score['high']:.3f}" if "low" in score else ""
                floor = f"{score['floor']['mean']:.3f}" if "floor" in score else ""
                cells = [row["model"], title, f"{minutes:.1f}", name, f"{score['value']:.3f}", ends, floor]
                lines.append(f"| {' | '.join(cells)} |")
    for name, values in results["baselines"].items():
        lines += [f"| {name} | | | {score} | {value:.3f} | | |" for score, value in values.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(TESTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--trained", type=Path, help="a run of the one model that is named")
    args = parser.parse_args()
    path, runs = HERE / "results.json", args.runs.resolve()
    results = json.loads(path.read_text()) if path.is_file() else {"rows": [], "baselines": {}}
    results["baselines"] = {"bicubic, x4": bicubic(), "masks of other images": other_masks()}
    for model in args.models.split(","):
        others = [row for row in results["rows"] if (row["model"], row["seed"]) != (model, args.seed)]
        if args.trained or len(others) == len(results["rows"]):
            run = args.trained or train(model, args.seed, runs)
            row = make_row(model, args.seed, run.resolve(), runs)
            row["threads"] = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
            results["rows"] = [*others, row]
        write_json(path, results)
        (HERE / "results.md").write_text(report(results))
    print(report(results))


if __name__ == "__main__":
    main()
