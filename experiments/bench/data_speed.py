"""Time ready batches of MNIST against torchvision's per-image transforms, and the second start of a folder of JPEGs.

OMP_NUM_THREADS=1 taskset -c 0 python -m experiments.bench.data_speed --mnist DATA --jpegs FOLDER

DATA holds torchvision's folder MNIST; FOLDER holds images in class folders, and may be left out.
Writes data_speed.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.data import DataLoader

from condgen.data import MNIST
from experiments.results import machine, write_json

ROUNDS, SECONDS, BATCH = 5, 1.0, 128
START = """
import sys, time
from condgen.data import ImageFolder
start = time.perf_counter()
data = ImageFolder(sys.argv[1], 32)
data.prepare_data()
next(iter(data.train_dataloader()))
print(time.perf_counter() - start)
"""

MEMORY = """
import gc, json, sys
import torch
from condgen.data import MNIST, ImageFolder

def resident():
    gc.collect()
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Rss:", "SwapPss:"))) * 1024

import sklearn.model_selection, torchvision.datasets  # modules are no data
torch.zeros(8, 3, 32, 32).float().div_(2)
data = MNIST(sys.argv[2], download=False) if sys.argv[1] == "mnist" else ImageFolder(sys.argv[2], 32)
data.prepare_data() if sys.argv[1] != "mnist" else None
before = resident()
count = 0
for split in ("train", "validation", "test"):
    loader = data.train_dataloader() if split == "train" else data._loader(split, 500, shuffle=False)
    for raw in loader:
        data.on_after_batch_transfer(raw, 0)
    count += len(data.images(split))
raw = count * torch.tensor(data.image_shape).prod().item()
print(json.dumps({"images": count, "raw_mib": round(raw / 2**20), "ratio": round((resident() - before) / raw, 2)}))
"""


def ours(root: str) -> Iterator[int]:
    data = MNIST(root, download=False, batch_size=BATCH)
    loader = data.train_dataloader()
    while True:
        for raw in loader:
            yield len(data.on_after_batch_transfer(raw, 0)["image"])


def theirs(root: str) -> Iterator[int]:
    from torchvision import datasets, transforms

    steps = [transforms.Pad(2), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
    loader = DataLoader(datasets.MNIST(root, transform=transforms.Compose(steps)), BATCH, shuffle=True, drop_last=True)
    while True:
        for image, _ in loader:
            yield len(image)


def rate(batches: Iterator[int]) -> float:
    images, start = 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < SECONDS:
        images += next(batches)
    return images / seconds


def compare(root: str) -> dict[str, Any]:
    makers: dict[str, Callable[[str], Iterator[int]]] = {"ours": ours, "again": ours, "peer": theirs}
    running = {name: make(root) for name, make in makers.items()}
    for batches in running.values():
        next(batches)
    rounds = [{name: rate(batches) for name, batches in running.items()} for _ in range(ROUNDS)]
    ratios, noise = ([r["ours"] / r[other] for r in rounds] for other in ("peer", "again"))
    return {
        "work": f"ready float batches of MNIST, batch {BATCH}, 32x32",
        "unit": "images/s",
        "ours": round(median(r["ours"] for r in rounds)),
        "peer": round(median(r["peer"] for r in rounds)),
        "ratio": round(median(ratios), 1),
        "ratio_min_max": [round(min(ratios), 1), round(max(ratios), 1)],
        "same_against_itself": [round(min(noise), 2), round(max(noise), 2)],
    }


def second_start(folder: str) -> dict[str, Any]:
    seconds = [
        float(subprocess.run([sys.executable, "-c", START, folder], check=True, capture_output=True).stdout)
        for _ in range(1 + ROUNDS)
    ]
    rest = sorted(seconds[1:])
    return {
        "work": "from ImageFolder(...) to its first batch, cached; imports not counted",
        "unit": "s",
        "first": round(seconds[0], 2),
        "ours": round(median(rest), 2),
        "min_max": [round(rest[0], 2), round(rest[-1], 2)],
    }


def memory(kind: str, root: str) -> dict[str, Any]:
    ran = subprocess.run([sys.executable, "-c", MEMORY, kind, root], check=True, capture_output=True, text=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    return {"work": f"memory after an epoch of all splits, {kind}, over raw bytes", **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", required=True)
    parser.add_argument("--jpegs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [compare(options.mnist), memory("mnist", options.mnist)]
    if options.jpegs:
        rows += [second_start(options.jpegs), memory("jpegs", options.jpegs)]
    out = {"machine": machine()}
    for row in rows:
        print(row)
    write_json(Path(__file__).with_name("data_speed.json"), {**out, "rows": rows})


if __name__ == "__main__":
    main()
