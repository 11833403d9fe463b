"""Train all families on MNIST, score them, and write the results, row by row.

python -m experiments.mnist.run --root FOLDER [--models dcgan,vae] [--seeds 0,1,2] [--commit]

A row is one model and one seed; rows that results.json holds already are skipped, so an interrupted run goes on where
it stopped. Writes results.json, results.md, grids/ and guidance.png beside this file, and the table into README.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from experiments.mnist.reference import FEW, measure_reference
from experiments.mnist.tables import main_table, plot_guidance, report
from experiments.results import ROOT, condgen, into_readme, machine, newest, write_json

HERE = Path(__file__).parent
MODELS = ("cgan", "dcgan", "vae", "ddpm")
GUIDANCE = (0.0, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)


def train(model: str, seed: int, root: str, runs: Path) -> tuple[Path, float]:
    name, start = f"mnist-{model}-{seed}", time.perf_counter()
    config = str(HERE / f"{model}.yaml")
    condgen("fit", "-c", config, "--data.root", root, "--seed_everything", str(seed), "--runs", str(runs),
            "--name", name)  # fmt: skip
    return newest(runs, name), (time.perf_counter() - start) / 60


def test(run: Path, runs: Path, name: str, *args: str) -> Path:
    """Score a run, and return the folder of the scores."""
    condgen("test", "-c", str(run), "--ckpt_path", str(run), "--runs", str(runs), "--name", name, *args)
    return newest(runs, name, "-test")


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found


def scores_of(result: dict[str, Any], floor: dict[str, Any]) -> dict[str, float]:
    scores = {name: row["value"] for name, row in result["scores"].items()}
    return scores | {"fd_mnist_floor": floor["mean"]}


def make_row(model: str, seed: int, root: str, runs: Path, reference: dict[str, Any]) -> dict[str, Any]:
    run, minutes = train(model, seed, root, runs)
    name = f"mnist-{model}-{seed}-scores"
    folder = test(run, runs, name, "--evaluation.cas", "true", "--evaluation.reference", "false")
    best, floor = result_of(folder), reference[f"fd_mnist_floor_{FEW}"]

    def few(suffix: str, *args: str) -> dict[str, float]:
        options = ("--evaluation.reference", "false", "--evaluation.n_samples", str(FEW), "--likelihood.n_images", "1")
        return scores_of(result_of(test(run, runs, name + suffix, *options, *args)), floor)

    row = {
        "model": model,
        "seed": seed,
        "train_minutes": round(minutes, 2),
        "images_seen": best["protocol"]["images_seen"],
        "sample_seconds": best["protocol"]["seconds"],
        "scores": scores_of(best, reference["fd_mnist_floor"]),
        f"averaged_scores_{FEW}": few("-few"),
        f"raw_scores_{FEW}": few("-raw", "--evaluation.raw", "true"),
        "protocol": best["protocol"],
        "machine": machine(),
    }
    if model == "ddpm" and seed == 0:
        everywhere = ("--model.sampler.guidance_from", "0")
        row[f"guidance_{FEW}"] = [
            {"guidance": scale} | few(f"-g{scale}", *everywhere, "--model.sampler.guidance", str(scale))
            for scale in GUIDANCE
        ]
    shutil.copy(max((run / "samples").iterdir()), HERE / "grids" / f"{model}-{seed}.png")
    if (folder / "reconstructions.png").is_file():
        shutil.copy(folder / "reconstructions.png", HERE / "grids" / f"{model}-{seed}-reconstructions.png")
    return row


def write(results: dict[str, Any]) -> None:
    write_json(HERE / "results.json", results)
    (HERE / "results.md").write_text(report(results))
    into_readme("mnist", main_table(results))
    plot_guidance(results, HERE / "guidance.png")


def commit(message: str) -> None:
    paths = [str(HERE), str(ROOT / "README.md")]
    subprocess.run(["git", "add", *paths], check=True, cwd=ROOT)
    if subprocess.run(["git", "diff", "--cached", "--quiet", "--", *paths], cwd=ROOT, check=False).returncode:
        subprocess.run(["git", "commit", "-q", "-m", message, "--", *paths], check=True, cwd=ROOT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="folder of the MNIST files")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--commit", action="store_true", help="commit the results to git after each row")
    args = parser.parse_args()
    root, runs, path = str(Path(args.root).resolve()), args.runs.resolve(), HERE / "results.json"
    (HERE / "grids").mkdir(exist_ok=True)
    results = json.loads(path.read_text()) if path.is_file() else {"rows": []}
    if "reference" not in results:
        results["reference"] = measure_reference(root)
        write(results)
    for seed in map(int, args.seeds.split(",")):
        for model in args.models.split(","):
            if any((row["model"], row["seed"]) == (model, seed) for row in results["rows"]):
                continue
            results["rows"].append(make_row(model, seed, root, runs, results["reference"]))
            results["rows"].sort(key=lambda row: (MODELS.index(row["model"]), row["seed"]))
            write(results)
            if args.commit:
                commit(f"MNIST results: {model}, seed {seed}")
    write(results)
    print(main_table(results))


if __name__ == "__main__":
    main()
