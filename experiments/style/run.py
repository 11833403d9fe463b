"""Train digits of a class in the style of a reference, and measure whether the style came over to other classes.

python -m experiments.style.run --root FOLDER                   # FOLDER holds MNIST/raw
python -m experiments.style.run --root FOLDER --trained RUN

`--trained` scores a run that was made by `condgen fit -c experiments/style/ddpm.yaml`. Options after `--` go to
`condgen fit`. Writes results.json, results.md, per_image.csv and grid.png beside this file, or into `--out`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condgen.checkpoints import load_model
from condgen.cli.data_config import data_module
from condgen.data import Images, ImageSet
from condgen.data.published import of_other_classes
from condgen.metrics import Evaluator, MNISTExtractor, StrokeStyle
from condgen.metrics.strokes import stroke_style
from condgen.models import DDPM
from condgen.models.asking import Asked, ask, draw
from condgen.pictures import grid, save_png
from experiments.results import condgen, machine, newest, write_json

HERE = Path(__file__).parent
GUIDANCE = (1.0, 1.5, 2.0, 3.0)
"""Scales that the validation images choose from, by the mean of both correlations."""
TRIED = 1000
"""Validation images that choose, at most."""
NAMES = {
    "samples": "DDPM, another class than the reference's",
    "own_class": "DDPM, the reference's class",
    "other_references": "DDPM, beside the references of others",
    "matched": "real images, matched by measuring both",
    "same_hand": "real images, next to the reference in the second half of the test images",
    "other_hand": "real images, next to the reference in the first half",
}
COLUMNS = ("label", "reference", "seen", "stroke_width", "slant", "reference_stroke_width", "reference_slant")

Scores = dict[str, dict[str, float]]


class Experiment:
    def __init__(self, args: argparse.Namespace) -> None:
        self.out, self.runs, self.seed = args.out.resolve(), args.runs.resolve(), args.seed
        self.root, self.options, self.samples = str(Path(args.root).resolve()), args.options, args.samples
        data = data_module(str(HERE / "ddpm.yaml"), ["--data.root", self.root])
        data.prepare_data()
        self.train, self.validation, self.test = (data.images(split).all() for split in ("train", "validation", "test"))
        reference = self.test.cond["label"][of_other_classes(self.test.cond["label"])]
        self.asked_of = ImageSet(self.test.pixels, self.test.cond | {"reference": reference})
        self.evaluator = Evaluator(MNISTExtractor())

    def fit(self) -> Path:
        where = ("--runs", str(self.runs), "--name", "style", "--seed_everything", str(self.seed))
        condgen("fit", "-c", str(HERE / "ddpm.yaml"), *where, "--data.root", self.root, *self.options)
        return newest(self.runs, "style")

    def results(self, run: Path) -> dict[str, Any]:
        model = load_model(run)
        assert isinstance(model, DDPM)
        tried = self.choose_guidance(model)
        chosen = ("--model.sampler.guidance", max(tried, key=lambda scale: tried[scale]))
        where = ("--runs", str(self.runs), "--name", "style-scores", "--data.root", self.root)
        size = ("--evaluation.n_samples", str(self.samples))
        condgen("test", "-c", str(run), "--ckpt_path", str(run), *where, *size, *chosen)
        found = json.loads((newest(self.runs, "style-scores", "-test") / "metrics.json").read_text())
        kept = {"scores": found["scores"], "cost": found["cost"], "protocol": found["protocol"] | {"checkpoint": None}}
        by_style = self.look(model, found["scores"])
        save_png(self.picture(model), self.out / "grid.png")
        return {"seed": self.seed, "validation_by_guidance": tried, **kept, "by_style": by_style, "machine": machine()}

    def choose_guidance(self, model: DDPM) -> dict[str, float]:
        """Return the mean correlation on validation images by guidance, and leave the model with the best."""
        index, found = torch.arange(min(TRIED, self.samples)), {}
        for scale in GUIDANCE:
            model.sampler = replace(model.sampler, guidance=scale)
            asked = ask(model, index, lambda: self.validation)
            scores = measured(draw(model, asked.cond, index), asked.cond["style"])
            found[str(scale)] = (scores["stroke_width_r"]["value"] + scores["slant_r"]["value"]) / 2
        model.sampler = replace(model.sampler, guidance=float(max(found, key=lambda scale: found[scale])))
        return found

    def look(self, model: DDPM, scores: dict[str, Any]) -> dict[str, Scores]:
        """Draw once more what `condgen test` drew, and measure it and what stands beside it."""
        index = torch.arange(self.samples)
        asked = ask(model, index, lambda: self.asked_of)
        style, reference, pixels = asked.cond["style"], asked.cond["reference"], draw(model, asked.cond, index)
        self.keep(pixels, asked)
        own = draw(model, asked.cond | {"label": reference}, index)
        found = {"samples": measured(pixels, style), "own_class": measured(own, style)}
        for name, value in found["samples"].items():
            assert abs(value["value"] - scores[name]["value"]) < 1e-3, f"{name} is {value}, not {scores[name]}"
        for name, images, due in (("samples", pixels, asked.cond["label"]), ("own_class", own, reference)):
            found[name]["label_accuracy"] = {"value": float((self.seen(images) == due).double().mean())}
        found["other_references"] = measured(pixels, style.roll(1, 0))
        found["matched"] = measured(matched(asked, self.train), style)
        half = len(self.test) // 2
        found["same_hand"] = neighbours(self.test.take(torch.arange(half, len(self.test))))
        found["other_hand"] = neighbours(self.test.take(torch.arange(half)))
        return found

    def keep(self, pixels: Tensor, asked: Asked) -> None:
        """Write what was asked for, what the classifier sees, and both styles, a row for each sample."""
        columns = [asked.cond["label"], asked.cond["reference"], self.seen(pixels)]
        styles = [stroke_style(images) for images in (pixels, asked.cond["style"])]
        rows = torch.cat([torch.stack(columns, dim=1).double(), *styles], dim=1).numpy()
        self.out.mkdir(parents=True, exist_ok=True)
        formats = ["%d"] * 3 + ["%.4f"] * 4
        heading = ",".join(COLUMNS)
        np.savetxt(self.out / "per_image.csv", rows, fmt=formats, delimiter=",", header=heading, comments="")

    def seen(self, pixels: Tensor) -> Tensor:
        """Return the class (N,) that the classifier of condgen's scores sees in uint8 images."""
        return self.evaluator.extractor.logits(self.evaluator.extract(pixels, None).features).argmax(dim=1)

    def picture(self, model: DDPM) -> Tensor:
        """Draw a row for the first test image of each class, which comes first, and all classes in its style."""
        first = [int((self.test.cond["label"] == k).nonzero()[0]) for k in range(10)]
        style = self.test.pixels[first].repeat_interleave(10, dim=0)
        seeds = torch.arange(10).repeat_interleave(10)
        samples = draw(model, {"label": torch.arange(10).repeat(10), "style": style}, seeds).unflatten(0, (10, 10))
        return grid(torch.cat([self.test.pixels[first].unsqueeze(1), samples], dim=1).flatten(0, 1), 11)


def measured(pixels: Tensor, style: Tensor) -> Scores:
    metric = StrokeStyle()
    metric.update(pixels, {"style": style}, None)
    values, bounds = metric.compute(), metric.intervals()
    return {
        name: {"value": float(value), "low": float(bounds[name][0]), "high": float(bounds[name][1])}
        for name, value in values.items()
    }


def neighbours(images: ImageSet) -> Scores:
    """Measure each image beside the one before it, where that is of another class."""
    label = images.cond["label"]
    places = (label[1:] != label[:-1]).nonzero()[:, 0]
    return measured(images.pixels[places + 1], images.pixels[places])


def matched(asked: Asked, train: Images) -> Tensor:
    """Return of the class asked for the training image as far from its class's mean as the reference from its own.

    Distances are counted in standard deviations of the class, of stroke width and slant together.
    """
    pool = torch.cat([stroke_style(rows.pixels) for rows in train.blocks()])
    label = train.all().cond["label"]
    mean, sd = (torch.stack([part(pool[label == k], dim=0) for k in range(10)]) for part in (torch.mean, torch.std))
    reference, due = asked.cond["reference"], asked.cond["label"]
    wanted = (stroke_style(asked.cond["style"]) - mean[reference]) / sd[reference]
    there = (pool - mean[label]) / sd[label]
    found = torch.empty_like(due)
    for k in range(10):
        own = (label == k).nonzero()[:, 0]
        found[due == k] = own[torch.cdist(wanted[due == k], there[own]).argmin(dim=1)]
    return train.take(found).pixels


def report(results: dict[str, Any], rows: np.ndarray[Any, Any]) -> str:
    """Write the tables.

    Args:
        results: What results.json holds.
        rows: What per_image.csv holds, (N, 7).
    """
    heads = ("stroke width, r", "error, pixels", "slant, r", "error, degrees", "label accuracy")
    lines = [f"| images | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for name, title in NAMES.items():
        scores = results["by_style"][name]
        cells = [cell(scores[score]) if score in scores else "" for score in (*StrokeStyle.better, "label_accuracy")]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    label, reference, seen = rows[:, :3].T
    leaked = float((seen == reference).mean())
    other = float(((seen != reference) & (seen != label)).mean())
    guidance = results["protocol"]["sampler"]["init_args"]["guidance"]
    minutes = (results["cost"]["training_seconds"] or 0) / 60
    lines += [
        "",
        f"{len(rows):,} samples at guidance {guidance:g} after {minutes:.1f} minutes of training. Of the samples, "
        f"{leaked:.1%} look to the classifier like the reference's class, {other:.1%} like a third one.",
        "",
        "| class asked for | samples | label accuracy | stroke width, r | slant, r |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for k in range(10):
        own = rows[label == k]
        r = [f"{correlation(own[:, 3 + place], own[:, 5 + place]):.2f}" for place in (0, 1)]
        right = f"{float((own[:, 2] == k).mean()):.2f}" if len(own) else ""
        lines.append(f"| {k} | {len(own)} | {right} | {' | '.join(r)} |")
    return "\n".join(lines) + "\n"


def correlation(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if len(x) > 2 and x.std() > 0 else float("nan")


def cell(score: dict[str, float]) -> str:
    ends = f" ({score['low']:.2f} to {score['high']:.2f})" if "low" in score else ""
    return f"{score['value']:.2f}{ends}" if ends else f"{score['value']:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", default="data", help="the data, as of data/mnist.yaml")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--trained", type=Path, help="a run that is there")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("options", nargs="*", help="options of `condgen fit`, after --")
    args = parser.parse_args()
    experiment = Experiment(args)
    results = experiment.results((args.trained or experiment.fit()).resolve())
    write_json(args.out / "results.json", results)
    text = report(results, np.loadtxt(args.out / "per_image.csv", delimiter=",", skiprows=1))
    (args.out / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
