"""One process against two, which hold unequal shares of an odd number of images: every score and table is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPO

from condgen.data import Digits
from condgen.metrics import DigitsExtractor, Evaluator
from condgen.metrics.evaluator import CHUNK

SCRIPT = """
import json, os, sys
import torch
from torch.distributed import init_process_group, destroy_process_group
from condgen.data import Digits
from condgen.metrics import DigitsExtractor, Evaluator, ReconstructionError
from condgen.seeding import share

rank, world, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
if world > 1:
    init_process_group("gloo", init_method=f"file://{os.getcwd()}/{path}.rendezvous", rank=rank, world_size=world)
data, evaluator = Digits(), Evaluator(DigitsExtractor())
splits = [data.images("validation"), data.images("test"), data.images("train")]
splits = [part.take(torch.arange(count)) for part, count in zip(splits, (301, 257, 401))]
real, fake, train = [part.take(share(len(part), rank, world)) for part in splits]
sides = [evaluator.extract(part.pixels, part.cond["label"]) for part in (real, fake, train)]
result = evaluator.score(sides[0], sides[1], train=sides[2], intervals=True)
error = ReconstructionError()
error.update(fake.pixels, fake.pixels.flip(-1))
out = {"scores": {k: v._asdict() for k, v in result.scores.items()}, "per_class": result.per_class,
       "warnings": result.warnings, "error": {k: float(v) for k, v in error.compute().items()},
       "features": torch.cat(evaluator.extract(fake.pixels, None)[:1]).double().sum(dim=1).tolist()}
with open(f"{path}.{rank}", "w") as file:
    json.dump(out, file)
if world > 1:
    destroy_process_group()
"""


def run(world: int, folder: Path) -> list[dict[str, Any]]:
    (folder / "score.py").write_text(SCRIPT)
    commands = [[sys.executable, "score.py", str(rank), str(world), f"out{world}"] for rank in range(world)]
    started = [
        subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=environment())
        for command in commands
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return [json.loads((folder / f"out{world}.{rank}").read_text()) for rank in range(world)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", str(REPO))}


def test_two_processes_score_as_one(tmp_path: Path) -> None:
    (one,), two = run(1, tmp_path), run(2, tmp_path)
    assert two[0]["features"] + two[1]["features"] == one["features"]  # bit for bit, by chunks of one size
    for mine in two:
        assert mine["per_class"] == one["per_class"]
        assert mine["warnings"] == one["warnings"]
        assert mine["error"] == pytest.approx(one["error"], rel=1e-10)
        assert list(mine["scores"]) == list(one["scores"])
        for name, score in one["scores"].items():
            assert mine["scores"][name].pop("better") == score.get("better"), name
            got = [mine["scores"][name][key] for key in ("value", "low", "high")]
            assert got == pytest.approx([score[key] for key in ("value", "low", "high")], rel=1e-10), name
            assert score["low"] <= score["value"] <= score["high"], name
    assert set(one["scores"]) == {
        "label_accuracy", "fd_digits", "intra_fd_digits", "kid_digits", "is_digits",
        "precision", "recall", "density", "coverage", "diversity", "memorisation",
    }  # fmt: skip
    assert sum(map(sum, one["per_class"]["confusion"])) == 257


def test_features_do_not_depend_on_company(digits: Digits) -> None:
    evaluator, pixels = Evaluator(DigitsExtractor()), digits.images("test").pixels[: 2 * CHUNK + 3]
    whole = evaluator.extract(pixels, None).features
    for rows in (torch.arange(5), torch.arange(CHUNK - 1, CHUNK + 2), torch.randperm(len(pixels))):
        assert torch.equal(evaluator.extract(pixels[rows], None).features, whole[rows])
