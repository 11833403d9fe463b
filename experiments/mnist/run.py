"""Train all families on MNIST, score them, and write the results, row by row.

python -m experiments.mnist.run --root FOLDER [--models dcgan,vae] [--seeds 0,1,2] [--jobs 2] [--commit]

A row is one model and one seed; rows that results.json holds already are skipped, so an interrupted run goes on where
it stopped. Writes results.json, results.md, grids/ and guidance.png beside this file, and the table into README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.mnist.reference import FEW, measure_reference
from experiments.mnist.tables import main_table, plot_guidance, report
from experiments.results import READMES, ROOT, condgen, into_readme, machine, newest, write_json

HERE = Path(__file__).parent
MODELS = ("cgan", "dcgan", "vae", "ddpm")
GUIDANCE = (0.0, 1.0, 1.2, 1.4, 1.6, 2.0, 3.0)


@dataclass(frozen=True)
class Bench:
    """Where rows are made: the data, the folder of the runs, the cores of each row, and what training images get.

    Training is one process with a thread per core; scoring is one process of one thread per core, which on nets of
    this size is faster, but would cut the batches of training into parts too small.
    """

    root: str
    runs: Path
    cores: int
    reference: dict[str, Any]

    def run(self, verb: str, name: str, *args: str) -> Path:
        """Run a verb on the row's cores, and return the folder that it wrote."""
        processes, threads = (1, self.cores) if verb == "fit" else (self.cores, 1)
        where = ("--trainer.accelerator", "cpu", "--trainer.devices", str(processes), "--runs", str(self.runs))
        condgen(verb, *args, *where, "--name", name, threads=threads)
        return newest(self.runs, name, "" if verb == "fit" else f"-{verb}")

    def train(self, model: str, seed: int) -> tuple[Path, float]:
        """Train one model, and return its run and the minutes that the command took."""
        start = time.perf_counter()
        options = ("-c", str(HERE / f"{model}.yaml"), "--seed_everything", str(seed), "--data.root", self.root)
        run = self.run("fit", f"mnist-{model}-{seed}", *options)
        return run, (time.perf_counter() - start) / 60

    def test(self, run: Path, name: str, *args: str) -> Path:
        """Score a run, and return the folder of the scores."""
        return self.run("test", name, "-c", str(run), "--ckpt_path", str(run), *args)

    def make_row(self, model: str, seed: int) -> dict[str, Any]:
        """Train, score, score in other ways by fewer samples, and keep the pictures."""
        run, minutes = self.train(model, seed)
        name = f"mnist-{model}-{seed}-scores"
        folder = self.test(run, name, "--evaluation.cas", "true", "--evaluation.floor", "false")
        best = result_of(folder)

        def few(suffix: str, *args: str) -> dict[str, float]:
            size = ("--evaluation.floor", "false", "--evaluation.n_samples", str(FEW), "--likelihood.n_images", "1")
            found = self.test(run, name + suffix, *size, *args)
            return scores_of(result_of(found), self.reference[f"fd_mnist_floor_{FEW}"])

        checkpoint = Path(best["protocol"]["checkpoint"]).resolve()
        row = {
            "model": model,
            "seed": seed,
            "train_minutes": round(minutes, 2),
            "images_seen": best["protocol"]["images_seen"],
            "sample_seconds": best["protocol"]["seconds"],
            "scores": scores_of(best, self.reference["fd_mnist_floor"]),
            f"averaged_scores_{FEW}": few("-few"),
            f"raw_scores_{FEW}": few("-raw", "--evaluation.raw", "true"),
            "protocol": best["protocol"] | {"checkpoint": str(checkpoint.relative_to(self.runs))},
            "cores": self.cores,
            "machine": machine() | {"threads": self.cores},
        }
        if model == "ddpm" and seed == 0:
            row[f"guidance_{FEW}"] = [
                {"guidance": scale} | few(f"-g{scale}", "--model.sampler.guidance", str(scale)) for scale in GUIDANCE
            ]
        shutil.copy(max((run / "samples").iterdir()), HERE / "grids" / f"{model}-{seed}.png")
        if (folder / "reconstructions.png").is_file():
            shutil.copy(folder / "reconstructions.png", HERE / "grids" / f"{model}-{seed}-reconstructions.png")
        return row


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found


def scores_of(result: dict[str, Any], floor: dict[str, Any]) -> dict[str, float]:
    scores = {name: row["value"] for name, row in result["scores"].items()}
    return scores | {"fd_mnist_floor": floor["mean"]}


def write(results: dict[str, Any]) -> None:
    write_json(HERE / "results.json", results)
    (HERE / "results.md").write_text(report(results))
    into_readme("mnist", main_table(results))
    plot_guidance(results, HERE / "guidance.png")


def commit(message: str) -> None:
    paths = [str(HERE), *map(str, READMES)]
    subprocess.run(["git", "add", *paths], check=True, cwd=ROOT)
    if subprocess.run(["git", "diff", "--cached", "--quiet", "--", *paths], cwd=ROOT, check=False).returncode:
        subprocess.run(["git", "commit", "-q", "-m", message, "--", *paths], check=True, cwd=ROOT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="folder of the MNIST files")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time, each on its share of the cores")
    parser.add_argument("--commit", action="store_true", help="commit the results to git after each row")
    args = parser.parse_args()
    root, path = str(Path(args.root).resolve()), HERE / "results.json"
    (HERE / "grids").mkdir(exist_ok=True)
    results = json.loads(path.read_text()) if path.is_file() else {"rows": []}
    if "reference" not in results:
        results["reference"] = measure_reference(root)
        write(results)
    bench = Bench(root, args.runs.resolve(), max(1, (os.cpu_count() or 1) // args.jobs), results["reference"])
    done = {(row["model"], row["seed"]) for row in results["rows"]}
    wanted = [(model, seed) for seed in map(int, args.seeds.split(",")) for model in args.models.split(",")]
    with ThreadPoolExecutor(args.jobs) as pool:
        failed = []
        for finished in as_completed(pool.submit(bench.make_row, *key) for key in wanted if key not in done):
            if (error := finished.exception()) is not None:
                failed.append(error)
                continue
            row = finished.result()
            results["rows"].append(row)
            results["rows"].sort(key=lambda row: (MODELS.index(row["model"]), row["seed"]))
            write(results)
            if args.commit:
                commit(f"MNIST results: {row['model']}, seed {row['seed']}")
    if failed:
        raise failed[0]
    write(results)
    print(main_table(results))


if __name__ == "__main__":
    main()
