"""Train photos from captions, and measure how near they come to real ones, and whether the caption shows.

python -m experiments.flickr8k.run --data FOLDER                        # FOLDER holds captions.jsonl, flickr8k_64.zip
python -m experiments.flickr8k.run --data FOLDER --tagger RUN --models text_ddpm --trained RUN

Trains the tagger, which judges, unless `--tagger` gives its run, and each model unless results.json has it by that
tagger, or `--trained` gives its run, made by `condgen fit -c experiments/flickr8k/NAME.yaml`. Options after `--` go to
each `condgen fit`. Writes results.json, results.md and grids/ beside this file, or into `--out`.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condgen.checkpoints import load_model
from condgen.cli.data_config import data_module
from condgen.data import ImageSet
from condgen.metrics import CaptionMatch, Evaluator, Features, ModuleExtractor
from condgen.metrics.saved_net import read_net
from condgen.models import DDPM
from condgen.models.asking import draw
from condgen.nets import ConvClassifier
from condgen.types import Condition
from experiments.results import condgen, machine, newest, write_json

HERE = Path(__file__).parent
MODELS = ("text_ddpm", "plain_ddpm")
NAMES = {"text_ddpm": "DDPM, captions", "plain_ddpm": "DDPM, no captions"}
NAMES |= {"test": "real test photos", "others": "real test photos, captions of others", "train": "real training photos"}
GUIDANCE = (1.0, 2.0, 3.0, 5.0)
"""Scales that the validation captions choose from, by the share of other captions that fit less well."""
TRIED = 256
"""Validation captions that choose, at most."""
BY_CAPTION = tuple(CaptionMatch.better)
BY_FEATURES = ("precision", "recall", "density", "coverage")

Scores = dict[str, dict[str, float]]


class Experiment:
    def __init__(self, args: argparse.Namespace) -> None:
        self.out, self.runs, self.seed, self.samples = args.out.resolve(), args.runs.resolve(), args.seed, args.samples
        folder = Path(args.data).resolve()
        table, root = str(folder / "captions.jsonl"), str(folder / "flickr8k_64.zip")
        self.where, self.options = ("--data.table", table, "--data.root", root), args.options
        self.tagger: Path = args.tagger.resolve() if args.tagger else self.train("tagger")
        weights = str(self.tagger / "tagger.safetensors")
        saved = read_net(weights, ConvClassifier, "tagger")
        net = ConvClassifier(saved.net.shape, saved.net.num_classes, **saved.net.settings)
        extractor = ModuleExtractor(net, saved.card["name"], net.shape, weights, layer="body")
        self.saved, self.metric, self.evaluator = saved, CaptionMatch(weights), Evaluator(extractor)
        self.data = data_module(str(HERE / "text_ddpm.yaml"), list(self.where))
        self.test = self.one_of_each("test")
        self.real = self.evaluator.extract(self.test.pixels, None)

    def train(self, name: str) -> Path:
        where = ("--runs", str(self.runs), "--name", name, "--seed_everything", str(self.seed))
        condgen("fit", "-c", str(HERE / f"{name}.yaml"), *where, *self.where, *self.options)
        return newest(self.runs, name)

    def one_of_each(self, split: Any) -> ImageSet:
        """Return the photos of a split with the first caption of each, as many as there are to be samples."""
        images, rows = self.data.images(split), torch.arange(0, len(self.data.images(split)), 5)
        return images.take(rows[: self.samples])

    def judge(self) -> dict[str, Any]:
        """What the tagger is, and how well it does by itself."""
        card = {key: value for key, value in self.saved.card.items() if key not in ("classes", "shares")}
        seconds = training_seconds(self.tagger)
        return {**self.saved.name_and_hash, "card": card, "training_seconds": seconds, "machine": machine()}

    def real_rows(self) -> dict[str, Scores]:
        """Score real photos: of the test beside their own captions and those of others, and of the training."""
        others = {"text": self.test.cond["text"].roll(len(self.test) // 2, 0)}
        train = self.features(self.one_of_each("train").pixels)
        return {
            "test": self.by_caption(self.test.pixels, self.test.cond),
            "others": self.by_caption(self.test.pixels, others),
            "train": self.by_features(train),
        }

    def row(self, name: str, run: Path) -> dict[str, Any]:
        model = load_model(run)
        assert isinstance(model, DDPM)
        tried = self.choose_guidance(model) if "text" in model.condition_keys else {}
        pixels = draw(model, self.test.cond, torch.arange(len(self.test)))
        scores = self.by_caption(pixels, self.test.cond) | self.by_features(self.features(pixels))
        (self.out / "grids").mkdir(parents=True, exist_ok=True)
        shutil.copy(max((run / "samples").glob("*.png")), self.out / "grids" / f"{name}.png")
        if (run / "samples" / "rows.txt").is_file():
            shutil.copy(run / "samples" / "rows.txt", self.out / "grids" / f"{name}.txt")
        protocol = {
            "n_samples": len(pixels),
            "n_real": len(self.test),
            "seeds": [0, len(pixels) - 1],
            "conditions": "first captions of the test photos",
            "data_fingerprint": self.data.fingerprint("test"),
            "guidance": model.sampler.guidance,
            "steps": model.sampler.steps,
            **self.evaluator.protocol,
            **self.metric.settings,
        }
        cost = {"training_seconds": training_seconds(run), "images_seen": model.images_seen}
        kept = {"validation_by_guidance": tried, "scores": scores, "cost": cost, "protocol": protocol}
        return {"model": name, "seed": self.seed, **kept, "machine": machine()}

    def choose_guidance(self, model: DDPM) -> dict[str, float]:
        """Return the share of captions that fit less well on validation by guidance; leave the model with the best."""
        rows, found = self.one_of_each("validation"), {}
        rows = rows.take(torch.arange(min(TRIED, len(rows))))
        for scale in GUIDANCE:
            model.sampler = replace(model.sampler, guidance=scale)
            pixels = draw(model, rows.cond, torch.arange(len(rows)))
            found[str(scale)] = self.by_caption(pixels, rows.cond)["caption_above"]["value"]
        model.sampler = replace(model.sampler, guidance=float(max(found, key=lambda scale: found[scale])))
        return found

    def by_caption(self, pixels: Tensor, cond: Condition) -> Scores:
        self.metric.reset()
        self.metric.update(pixels, cond, None)
        values, bounds = self.metric.compute(), self.metric.intervals()
        return {
            name: {"value": float(value), "low": float(bounds[name][0]), "high": float(bounds[name][1])}
            for name, value in values.items()
        }

    def features(self, pixels: Tensor) -> Features:
        return self.evaluator.extract(pixels, None)

    def by_features(self, fake: Features) -> Scores:
        found = self.evaluator.score(self.real, fake, intervals=True).scores
        return {
            name.replace(f"_{self.saved.card['name']}", ""): {
                key: value for key, value in score._asdict().items() if isinstance(value, float)
            }
            for name, score in found.items()
        }


def training_seconds(run: Path) -> float:
    rows = csv.DictReader((run / "metrics.csv").open())
    return [float(row["time/seconds"]) for row in rows if row.get("time/seconds")][-1]


def report(results: dict[str, Any]) -> str:
    heads = ("own caption best of 16", "captions below own", "fd", *BY_FEATURES)
    lines = [f"| photos | training minutes | {' | '.join(heads)} |", f"| --- | ---: |{' ---: |' * len(heads)}"]
    rows = {row["model"]: row for row in results["rows"]}
    for name, title in NAMES.items():
        scores = rows[name]["scores"] if name in rows else results["real"].get(name, {})
        minutes = f"{rows[name]['cost']['training_seconds'] / 60:.1f}" if name in rows else ""
        cells = [cell(scores[score]) if score in scores else "" for score in (*BY_CAPTION, "fd", *BY_FEATURES)]
        lines.append(f"| {title} | {minutes} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(score: dict[str, float]) -> str:
    ends = f" ({score['low']:.3f} to {score['high']:.3f})" if "low" in score else ""
    return f"{score['value']:.3f}{ends}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help="any of them, with commas; none for the tagger")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", default="data/FLICKR8K", help="folder of the captions and the photos")
    parser.add_argument("--samples", type=int, default=1000, help="test photos, and samples for the captions of these")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--tagger", type=Path, help="a run of the tagger")
    parser.add_argument("--trained", type=Path, help="a run of the one model that is named")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("options", nargs="*", help="options of each `condgen fit`, after --")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    experiment, path = Experiment(args), args.out / "results.json"
    judge = experiment.judge()
    results = json.loads(path.read_text()) if path.is_file() else {}
    if results.get("tagger", {}).get("sha256") != judge["sha256"]:
        results = {"tagger": judge, "real": experiment.real_rows(), "rows": []}
    for model in filter(None, args.models.split(",")):
        others = [row for row in results["rows"] if row["model"] != model]
        if args.trained or len(others) == len(results["rows"]):
            run = args.trained or experiment.train(model)
            results["rows"] = [*others, experiment.row(model, run.resolve())]
            write_json(path, results)
    write_json(path, results)
    (args.out / "results.md").write_text(report(results))
    print(report(results))


if __name__ == "__main__":
    main()
