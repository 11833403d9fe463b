"""One process against two, which hold unequal shares of an odd number of images: every score and table is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPO
from metric_inputs import score_share

from condgen.data import Digits
from condgen.metrics import DigitsExtractor, Evaluator
from condgen.metrics.evaluator import CHUNK

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from torch.distributed import destroy_process_group, init_process_group
from metric_inputs import score_share

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(1)
init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
(folder / f"rank{rank}").write_text(json.dumps(score_share(rank, 2)))
destroy_process_group()
"""
SCORES = {
    "label_accuracy", "fd_digits", "intra_fd_digits", "kid_digits", "is_digits",
    "precision", "recall", "density", "coverage", "diversity", "memorisation",
}  # fmt: skip


def test_two_processes_score_as_one(tmp_path: Path) -> None:
    folders = [str(REPO), str(REPO / "tests"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), str(tmp_path)], stderr=subprocess.PIPE, env=environment
        )
        for rank in range(2)
    ]
    one = score_share(0, 1)
    for process in started:
        errors = process.communicate(timeout=120)[1]
        assert process.returncode == 0, errors.decode()
    two = [json.loads((tmp_path / f"rank{rank}").read_text()) for rank in range(2)]
    features = two[0]["features"] + two[1]["features"]
    assert features == pytest.approx(one["features"], rel=1e-12)  # chunks of one size
    assert set(one["scores"]) == SCORES
    assert sum(map(sum, one["per_class"]["confusion"])) == len(features) == 257
    for mine in two:
        assert mine["warnings"] == one["warnings"]
        assert mine["error"] == pytest.approx(one["error"], rel=1e-10)
        assert set(mine["scores"]) == SCORES
        for name, (value, low, high) in one["scores"].items():
            assert mine["scores"][name] == pytest.approx([value, low, high], rel=1e-10), name
            assert low <= value <= high, name
        assert mine["unlabelled"] == pytest.approx(one["unlabelled"], rel=1e-10)
        assert mine["per_class"].keys() == one["per_class"].keys()
        for name, table in one["per_class"].items():
            assert torch.allclose(torch.tensor(mine["per_class"][name]).double(), torch.tensor(table).double(), 1e-10)


def test_features_do_not_depend_on_company(digits: Digits) -> None:
    evaluator, pixels = Evaluator(DigitsExtractor()), digits.images("test").pixels[: 2 * CHUNK + 3]
    whole = evaluator.extract(pixels, None).features
    for rows in (torch.arange(5), torch.arange(CHUNK - 1, CHUNK + 2), torch.randperm(len(pixels))):
        assert torch.equal(evaluator.extract(pixels[rows], None).features, whole[rows])
