"""The bench goes on where it stopped, and tells what it measured of what is due."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from condgen.nets import UNet
from condgen.types import CondDims, Encoded
from experiments.bench import run as bench
from experiments.bench.figures import FIGURES, figures_table
from experiments.bench.peer_nets import DiffusersUNet
from experiments.bench.settings import Setting
from experiments.bench.tables import report

MEASURED = {
    "work": "w",
    "comparison": "defaults",
    "peer_name": "PyTorch-GAN's cgan",
    "ours": 3.0,
    "peer": 1.0,
    "ratio": 3.0,
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which of three parts are measured; the second one fails at first."""
    found: list[str] = []

    def part(name: str) -> Any:
        def measured(setting: Setting) -> list[dict[str, Any]]:
            assert setting.folder.is_dir()
            assert torch.get_num_threads() == 1
            found.append(name)
            if name == "overhead/digits" and found.count(name) == 1:
                raise RuntimeError("broken")
            return [MEASURED, MEASURED | {"comparison": "fp32", "ratio": 2.0}]

        return measured

    names = ["peers/cgan", "overhead/digits", "evaluation/frechet"]
    monkeypatch.setattr(bench, "PARTS", {name: part(name) for name in names})
    monkeypatch.setattr(bench, "DEFAULT", names)
    return found


def test_parts_that_are_there_are_skipped_and_failed_ones_are_made_up(
    calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out" / "results.json"
    args = ["--root", str(tmp_path), "--smoke", "--json", str(file)]
    assert bench.main([*args, "--parts", "evaluation"]) == 0
    assert bench.main(args) == 1
    assert "failed: overhead/digits" in capsys.readouterr().out
    assert bench.main(args) == 0
    assert calls == ["evaluation/frechet", "peers/cgan", "overhead/digits", "overhead/digits"]
    content = json.loads(file.read_text())
    assert [row["part"] for row in content["rows"]] == [
        name for name in ("peers/cgan", "overhead/digits", "evaluation/frechet") for _ in range(2)
    ]
    assert {"work", "ours", "peer", "ratio"} <= content["rows"][0].keys()
    assert "| CGAN training | PyTorch-GAN's cgan | >= 2.2 x | 3 | 2 | yes |" in file.with_suffix(".md").read_text()
    assert bench.main([*args, "--parts", "peers", "--again"]) == 0
    assert calls.count("peers/cgan") == 2
    assert len(json.loads(file.read_text())["rows"]) == 6


def test_results_of_another_machine_are_not_mixed(calls: list[str], tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"machine": {"processor": "abacus"}, "rows": [], "seconds": {}}))
    with pytest.raises(SystemExit, match="abacus"):
        bench.main(["--root", str(tmp_path), "--smoke", "--json", str(file)])
    with pytest.raises(SystemExit, match="no part 'pears'"):
        bench.main(["--root", str(tmp_path), "--smoke", "--json", str(tmp_path / "x.json"), "--parts", "pears"])
    assert calls == []


def test_smoke_never_stands_among_the_results(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--root", str(tmp_path), "--smoke"])


def test_a_figure_that_is_missed_or_contended_says_so() -> None:
    row = {"part": "peers/cgan", **MEASURED, "ratio": 2.1, "contended": True}
    line, other = figures_table([row]).splitlines()[2:4]
    assert line == "| CGAN training | PyTorch-GAN's cgan | >= 2.2 x | 2.1 | no, contended |"
    assert other == "| DCGAN training | PyTorch-GAN's dcgan | >= 2.7 x | not measured | no |"


def test_figures_are_of_parts_that_there_are() -> None:
    assert {figure.part for figure in FIGURES} <= set(bench.PARTS)


def test_one_part_works_through_and_through(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    args = ["--root", str(tmp_path), "--smoke", "--json", str(file)]
    assert bench.main([*args, "--parts", "evaluation/frechet,growth/images"]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert {row["part"] for row in rows} == {"evaluation/frechet", "growth/images"}
    assert all(row["error"] < 1e-9 for row in rows if "error" in row)
    text = report(json.loads(file.read_text()))
    assert text.splitlines()[0].startswith("| work | against |")
    assert "## Growth of cost" in text


def test_the_nets_that_are_compared_cost_alike() -> None:
    shape, x, t = (1, 32, 32), torch.zeros(2, 1, 32, 32), torch.zeros(2)

    def gflop(net: torch.nn.Module, cond: Encoded) -> float:
        with FlopCounterMode(display=False) as counter:
            net(x, t, cond).sum().backward()
        return counter.get_total_flops()

    ours = UNet(shape, CondDims(10), width=32, multipliers=(1, 2, 4), blocks=1, attention=(8,))
    theirs = DiffusersUNet(shape, CondDims())
    assert gflop(ours, Encoded(torch.zeros(2, 10))) == pytest.approx(gflop(theirs, Encoded()), rel=0.05)
    assert sum(p.numel() for p in ours.parameters()) < sum(p.numel() for p in theirs.parameters())
