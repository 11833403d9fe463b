"""Folders of runs that were never run, for tests of what reads them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import torch
import yaml

from condgen.pictures import save_png

PROTOCOL: dict[str, Any] = {
    "data": "Digits",
    "split": "test",
    "model": "CGAN",
    "ema": True,
    "sampler": {"chunk": 256},
    "checkpoint": "last.ckpt",
    "weights_sha256": None,
    "run_seed": 0,
    "images_seen": 400,
    "processes": 1,
    "device": "cpu",
    "threads": 1,
    "condgen": "0.1.0",
    "torch": "2.15.0",
    "n_real": 360,
    "n_samples": 2000,
    "classes": "uniform",
    "seeds": [0, 1999],
    "extractor": {"name": "digits", "sha256": "d" * 64, "accuracy": 0.99},
    "quantisation": "uint8",
    "resize": None,
    "kid_subset_size": 360,
    "prdc_k": 5,
    "seconds": 2.0,
}


def score(value: float, better: str = "higher", floor: float | None = None) -> dict[str, Any]:
    """A score with an interval of 0.01 on either side."""
    row: dict[str, Any] = {"value": value, "better": better, "low": value - 0.01, "high": value + 0.01}
    return row if floor is None else row | {"floor": {"mean": floor, "sd": 0.002, "draws": 5}}


SCORES = {"recall": score(0.8, floor=0.9), "precision": score(0.7, floor=0.95), "fd_digits": score(3.0, "lower")}
PER_CLASS = {"names": ["0", "1"], "label_accuracy": [1.0, 0.9], "fd": [2.0, 3.0], "confusion": [[9, 1], [0, 10]]}


def make_run(
    root: Path,
    name: str,
    *,
    stamp: str = "20260101-000000",
    scores: dict[str, Any] | None = None,
    per_class: dict[str, Any] | None = None,
    warnings: Sequence[str] = (),
    cost: dict[str, Any] | None = None,
    scored: bool = True,
    data_class: str = "condgen.data.Digits",
    data_args: dict[str, Any] | None = None,
    **protocol: Any,
) -> Path:
    """Write a run `root/name/stamp` and, beside it, its test; return the run."""
    run = root / name / stamp
    (run / "checkpoints").mkdir(parents=True)
    data = {"class_path": data_class, "init_args": data_args or {"batch_size": 64, "augment": None}}
    (run / "config.yaml").write_text(yaml.safe_dump({"data": data, "name": name}))
    log(run, [(100, 10.0), (400, 40.0)])
    save_png(torch.full((1, 12, 12), 77, dtype=torch.uint8), run / "samples" / "images-000000400.png")
    if scored:
        card = PROTOCOL | {"checkpoint": str(run / "checkpoints" / "last.ckpt")} | protocol
        content = {"scores": scores or SCORES, "warnings": list(warnings), "cost": cost or {}, "protocol": card}
        content["per_class"] = PER_CLASS if per_class is None else per_class
        folder = root / name / f"{stamp}-test"
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump({"data": data}))
        (folder / "metrics.json").write_text(json.dumps(content))
    return run


def log(run: Path, times: Sequence[tuple[int, float]], *, timed: bool = True) -> None:
    """Write `metrics.csv` with a score, and the seconds of training, at some numbers of images seen."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / "metrics.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, ["step", "time/seconds", "train/loss", "val/recall"])
        rows.writeheader()
        for images, seconds in times:
            rows.writerow({"step": images, "time/seconds": seconds if timed else "", "train/loss": "nan"})
            rows.writerow({"step": images, "val/recall": images / 1000})


EMPTY = {"meta", "img"}


class Page(HTMLParser):
    """Checks that elements nest, and notes what a reader would get."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())
