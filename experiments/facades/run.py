"""Train label map -> photo by each manifest, and let a segmenter of real photos say whether the map was obeyed.

python -m experiments.facades.run --root FACADES.zip                              # everything
python -m experiments.facades.run --root FACADES.zip --segmenter RUN --models l1 --trained RUN

Trains the segmenter unless `--segmenter` gives its run, and each model unless results.json has it by that segmenter,
or `--trained` gives its run, made by `condgen fit -c experiments/facades/NAME.yaml`. Options after `--` go to each
`condgen fit`. Writes results.json, results.md, per_image/ and grids/ beside this file, or into `--out`.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condgen.callbacks.samples import ask, draw
from condgen.checkpoints import load_model
from condgen.cli.data_config import data_module
from condgen.masks import mean_iou, pixel_accuracy
from condgen.metrics import SegmentedMask
from condgen.metrics.intervals import bootstrap_sums
from condgen.metrics.saved_net import read_net
from condgen.models import DDPM, GenerativeModel
from condgen.nets import SegmentationUNet
from condgen.types import Condition
from experiments.results import condgen, machine, newest, write_json

HERE = Path(__file__).parent
MODELS = ("pix2pix", "l1", "ddpm")
BASELINE, REAL, OTHERS = "l1", "real", "real_other_maps"
NAMES = {"pix2pix": "Pix2Pix", "l1": "its L1 term alone", "ddpm": "DDPM"}
NAMES |= {REAL: "real photos", OTHERS: "real photos, maps of others"}
GUIDANCE = (1.0, 1.5, 2.0, 3.0)
"""Scales that the validation pairs choose from, by pixel accuracy."""
SCORES = {"pixel_accuracy": pixel_accuracy, "mean_iou": mean_iou}


class Experiment:
    def __init__(self, args: argparse.Namespace) -> None:
        self.out, self.runs, self.seed = args.out.resolve(), args.runs.resolve(), args.seed
        self.root, self.options = str(Path(args.root).resolve()), args.options
        self.segmenter: Path = args.segmenter.resolve() if args.segmenter else self.train("segmenter")
        self.weights = str(self.segmenter / "segmenter.safetensors")
        self.metric = SegmentedMask(self.weights)
        data = data_module(str(HERE / "l1.yaml"), ["--data.root", self.root])
        self.validation, self.test = (data.images(split).all() for split in ("validation", "test"))

    def train(self, name: str) -> Path:
        seed, where = ("--seed_everything", str(self.seed)), ("--runs", str(self.runs), "--name", name)
        condgen("fit", "-c", str(HERE / f"{name}.yaml"), *seed, *where, "--data.root", self.root, *self.options)
        return newest(self.runs, name)

    def judge(self) -> dict[str, Any]:
        """What the segmenter is, and how well it does by itself."""
        saved = read_net(self.weights, SegmentationUNet, "segmenter")
        rows = csv.DictReader((self.segmenter / "metrics.csv").open())
        seconds = [float(row["time/seconds"]) for row in rows if row.get("time/seconds")]
        return {**saved.name_and_hash, "card": saved.card, "training_seconds": seconds[-1], "machine": machine()}

    def make_row(self, model: str, run: Path) -> dict[str, Any]:
        judges = [
            {"class_path": f"condgen.metrics.{judge}", "init_args": {"weights": self.weights}}
            for judge in ("SegmentedMask", "PerceptualDistance")
        ]
        obedience = json.dumps([*judges, {"class_path": "condgen.metrics.PairedError"}])
        where = ("--runs", str(self.runs), "--name", f"{model}-scores", "--data.root", self.root)
        size = ("--evaluation.n_samples", str(len(self.test)), "--evaluation.obedience", obedience)
        loaded = load_model(run)
        tried = self.choose_guidance(loaded) if isinstance(loaded, DDPM) else {}
        chosen = ("--model.sampler.guidance", max(tried, key=lambda scale: tried[scale])) if tried else ()
        condgen("test", "-c", str(run), "--ckpt_path", str(run), *where, *size, *chosen)
        found = json.loads((newest(self.runs, f"{model}-scores", "-test") / "metrics.json").read_text())
        self.look(model, loaded, found["scores"])
        (self.out / "grids").mkdir(parents=True, exist_ok=True)
        shutil.copy(max((run / "samples").glob("*.png")), self.out / "grids" / f"{model}.png")
        kept = {"scores": found["scores"], "cost": found["cost"], "protocol": found["protocol"] | {"checkpoint": None}}
        return {"model": model, "seed": self.seed, "validation_by_guidance": tried, **kept, "machine": machine()}

    def choose_guidance(self, model: DDPM) -> dict[str, float]:
        """Return the pixel accuracy on the validation pairs by guidance, and leave the model with the best."""
        index, found = torch.arange(len(self.validation)), {}
        for scale in GUIDANCE:
            model.sampler = replace(model.sampler, guidance=scale)
            asked = ask(model, index, lambda: self.validation)
            counts = self.metric.measure(draw(model, asked.cond, index), asked.cond, None)
            found[str(scale)] = float(pixel_accuracy(counts.sum(dim=0, keepdim=True)))
        model.sampler = replace(model.sampler, guidance=float(max(found, key=lambda scale: found[scale])))
        return found

    def look(self, name: str, model: GenerativeModel, scores: dict[str, Any]) -> None:
        """Draw once more what `condgen test` drew, and write what the segmenter sees in it, and in the real photos."""
        index = torch.arange(len(self.test))
        asked = ask(model, index, lambda: self.test)
        assert asked.target is not None
        total = self.keep(name, draw(model, asked.cond, index), asked.cond)
        for score, function in SCORES.items():
            value = float(function(total.sum(dim=0, keepdim=True)))
            assert abs(value - scores[score]["value"]) < 1e-3, f"{score} of {name} is {value}, not {scores[score]}"
        self.keep(REAL, asked.target, asked.cond)
        self.keep(OTHERS, asked.target, {key: value.roll(1, 0) for key, value in asked.cond.items()})

    def keep(self, name: str, pixels: Tensor, cond: Condition) -> Tensor:
        rows = self.metric.measure(pixels, cond, None)
        heading = ",".join(f"{kind}_{k}" for kind in ("common", "joint") for k in range(rows.shape[1] // 2))
        (self.out / "per_image").mkdir(parents=True, exist_ok=True)
        path = self.out / "per_image" / f"{name}.csv"
        np.savetxt(path, rows.numpy(), fmt="%d", delimiter=",", header=heading, comments="")
        return rows


def by_map(folder: Path) -> dict[str, Any]:
    """Score all that was looked at, with 95% intervals over test pairs, and its lead over the baseline by pairs."""
    found = {path.stem: torch.from_numpy(np.loadtxt(path, delimiter=",", skiprows=1)) for path in folder.glob("*.csv")}
    sums = {name: (rows.sum(dim=0, keepdim=True), bootstrap_sums(rows)) for name, rows in sorted(found.items())}
    out: dict[str, Any] = {}
    for name, own in sums.items():
        out[name] = {score: spread(*map(function, own)) for score, function in SCORES.items()}
        if BASELINE in sums and name != BASELINE:
            for score, function in SCORES.items():
                lead = (function(a) - function(b) for a, b in zip(own, sums[BASELINE], strict=True))
                out[name][score]["above_l1"] = spread(*lead)
    return out


def spread(value: Tensor, resampled: Tensor) -> dict[str, float]:
    low, high = resampled.quantile(torch.tensor([0.025, 0.975]).to(resampled)).tolist()
    return {"value": float(value), "low": low, "high": high}


def report(results: dict[str, Any]) -> str:
    lines = ["| images | training minutes | score | value | 95% interval | above L1 alone | 95% interval, by pairs |"]
    lines.append("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    rows = {row["model"]: row for row in results["rows"]}
    for name in (*MODELS, REAL, OTHERS):
        seconds = rows[name]["cost"]["training_seconds"] if name in rows else None
        scores = results["by_map"].get(name, {})
        more = rows[name]["scores"] if name in rows else {}
        for score, found in {**scores, **{key: more[key] for key in more if key not in SCORES}}.items():
            apart = found.get("above_l1")
            cells = [NAMES.get(name, name), f"{seconds / 60:.1f}" if seconds else "", score, f"{found['value']:.3f}"]
            cells += [ends(found), f"{apart['value']:+.3f}" if apart else "", ends(apart) if apart else ""]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def ends(found: dict[str, float]) -> str:
    return f"{found['low']:.3f} to {found['high']:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help="any of them, with commas; none for the segmenter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", default="data/FACADES/facades_256.zip", help="the data, as of data/facades.yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--segmenter", type=Path, help="a run of the segmenter")
    parser.add_argument("--trained", type=Path, help="a run of the one model that is named")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("options", nargs="*", help="options of each `condgen fit`, after --")
    args = parser.parse_args()
    experiment, path = Experiment(args), args.out / "results.json"
    judge = experiment.judge()
    results = json.loads(path.read_text()) if path.is_file() else {}
    if results.get("segmenter", {}).get("sha256") != judge["sha256"]:
        results = {"segmenter": judge, "by_map": {}, "rows": []}
        shutil.rmtree(args.out / "per_image", ignore_errors=True)
    for model in filter(None, args.models.split(",")):
        others = [row for row in results["rows"] if row["model"] != model]
        if args.trained or len(others) == len(results["rows"]):
            run = args.trained or experiment.train(model)
            results["rows"] = [*others, experiment.make_row(model, run.resolve())]
            results["by_map"] = by_map(experiment.out / "per_image")
            write_json(path, results)
    (args.out / "results.md").write_text(report(results))
    print(report(results))


if __name__ == "__main__":
    main()
