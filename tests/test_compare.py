"""`condgen compare`: which runs may be compared, and what the page says of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from report_runs import PROTOCOL, Page, make_run, score

from condgen.cli import main
from condgen.report import read_runs, unlike
from condgen.report.protocol import ABSENT
from condgen.report.runs import ScoreRow
from condgen.report.tables import best, decimals, number


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Compare runs, which must fail with one line and code 2; return the line."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> str:
        assert main(["compare", *map(str, args)]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert not (tmp_path / "compare.html").exists()
        return line

    return run


# ---------------------------------------------------------------------- protocols


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data", "MNIST"),
        ("split", "validation"),
        ("n_real", 10),
        ("n_samples", 10),
        ("classes", None),
        ("seeds", [1, 2000]),
        ("extractor", {"name": "digits", "sha256": "f" * 64}),
        ("extractor", None),
        ("quantisation", "none"),
        ("resize", "bicubic"),
        ("kid_subset_size", 3),
        ("prdc_k", 3),
        ("condgen", "0.2.0"),
        ("data_fingerprint", "another"),
    ],
)
def test_scores_measured_in_another_way_are_unlike(field: str, value: object) -> None:
    protocol = {**PROTOCOL, "data_fingerprint": "one"}
    found = unlike([protocol, protocol | {field: value}])
    assert {difference.field.partition(".")[0] for difference in found} == {field}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "VAE"),
        ("ema", False),
        ("sampler", {"chunk": 8, "class_path": "condgen.processes.DDIM", "init_args": {"steps": 3}}),
        ("checkpoint", "elsewhere/last.ckpt"),
        ("weights_sha256", "e" * 64),
        ("run_seed", 3),
        ("images_seen", 7),
        ("processes", 2),
        ("device", "cuda"),
        ("threads", 9),
        ("torch", "3.0"),
        ("seconds", 1.0),
        ("samples", "folder/of/images"),
        ("condgen", "0.1.9"),
        ("likelihood", {"n_images": 360, "samples": 64, "seconds": 2.0}),
    ],
)
def test_runs_may_differ_in_what_is_compared(field: str, value: object) -> None:
    assert unlike([PROTOCOL, PROTOCOL | {field: value}]) == []


def test_a_setting_counts_where_two_runs_have_it_and_a_core_field_always() -> None:
    with_bound = [PROTOCOL | {"likelihood": {"n_images": n, "seconds": n}} for n in (360, 100)]
    (difference,) = unlike([PROTOCOL, *with_bound])
    assert difference == ("likelihood.n_images", (ABSENT, 360, 100))
    lacking = {key: value for key, value in PROTOCOL.items() if key != "n_samples"}
    (difference,) = unlike([PROTOCOL, lacking])
    assert difference == ("n_samples", (2000, ABSENT))


def test_images_from_files_have_no_seeds() -> None:
    from_files = {**PROTOCOL, "model": None, "seeds": None, "classes": None, "samples_fingerprint": "1234"}
    assert unlike([PROTOCOL, from_files]) == []
    assert len(unlike([PROTOCOL, from_files | {"n_samples": 3}])) == 1


def test_versions_with_the_same_scores_are_alike() -> None:
    assert unlike([{**PROTOCOL, "condgen": version} for version in ("1.2.0", "1.9.3")]) == []
    assert len(unlike([{**PROTOCOL, "condgen": version} for version in ("1.2.0", "2.0.0")])) == 1


def test_unlike_protocols_are_refused_by_the_first_field(refused: Callable[..., str], tmp_path: Path) -> None:
    for name, count in (("a", 5000), ("b", 5000), ("c", 1000)):
        make_run(tmp_path / "runs", name, n_samples=count, split="validation" if name == "c" else "test")
    line = refused("runs/a", "runs/b", "runs/c")
    assert line == (
        "condgen: runs differ in protocol: split is test in runs/a and validation in runs/c, and 1 more field "
        "(--force compares them anyway)"
    )


def test_force_marks_every_field_that_differs(report: Callable[..., Page], tmp_path: Path) -> None:
    for name, count, value in (("a", 5000, 0.5), ("b", 1000, 0.9)):
        make_run(tmp_path / "runs", name, scores={"recall": score(value)}, n_samples=count, seeds=[0, count - 1])
    page = report("runs/a", "runs/b", "--force")
    (banner,) = [attrs for attrs in page.all("div") if attrs.get("role") == "alert"]
    assert banner["class"] == "unlike"
    assert "n_samples : 5000 in a; 1000 in b" in page.text
    assert "seeds : 0–4999 in a; 0–999 in b" in page.text
    assert "No value is marked as the best" in page.text
    assert not page.all("strong")[0].get("title")
    table = (tmp_path / "compare.md").read_text()
    assert "Not comparable: the protocols differ** in n_samples, seeds" in table
    assert "**0.9" not in table


# ---------------------------------------------------------------------- runs


def test_a_run_is_found_by_its_folder_its_name_or_its_scores(tmp_path: Path) -> None:
    old = make_run(tmp_path, "cgan", stamp="20260101-000000")
    new = make_run(tmp_path, "cgan", stamp="20260102-000000")
    scored = new.parent / f"{new.name}-test"
    for given in (scored, scored / "metrics.json", new, tmp_path / "cgan"):
        one, other = read_runs([str(old), str(given)])
        assert one.folder == old.parent / f"{old.name}-test"
        assert other.folder == scored
        assert other.trained == new
        assert [one.name, other.name] == ["cgan/20260101-000000", "cgan/20260102-000000"]


def test_runs_that_were_moved_are_found_beside_their_scores(tmp_path: Path) -> None:
    make_run(tmp_path / "here", "a")
    make_run(tmp_path / "here", "b")
    (tmp_path / "here").rename(tmp_path / "there")
    for run in read_runs([str(tmp_path / "there" / name) for name in "ab"]):
        assert run.trained is not None
        assert "there" in run.trained.parts


def test_mistakes_are_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "a")
    unscored = make_run(tmp_path / "runs", "b", scored=False)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text("[1]")
    (tmp_path / "worse.json").write_text(json.dumps({"scores": {"fd": {}}, "protocol": {}}))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("mine")
    run = unscored.relative_to(tmp_path)
    assert f"{run} has no metrics.json; score it first: condgen test {run}" in refused("runs/a", "runs/b")
    assert "at least two runs" in refused("runs/a")
    assert "is compared with itself" in refused("runs/a", "runs/a")
    assert "no run runs/aa, did you mean 'runs/a'?" in refused("runs/a", "runs/aa")
    assert "empty: give a run's folder, or a metrics.json" in refused("runs/a", "empty")
    assert "broken.json cannot be read as JSON" in refused("runs/a", "broken.json")
    assert "other.json is not a result of condgen" in refused("runs/a", "other.json")
    assert "worse.json is not a result of condgen: a score has no value" in refused("runs/a", "worse.json")
    assert "--out takes a .html file, got x.htm" in refused("runs/a", "runs/b", "--out", "x.htm")
    assert "notes.md was not written by condgen compare" in refused("runs/a", "runs/b", "--out", "notes.html")
    assert "no option --forse, did you mean '--force'?" in refused("runs/a", "runs/b", "--forse")
    assert (tmp_path / "notes.md").read_text() == "mine"


def test_a_damaged_log_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        run = make_run(tmp_path, name)
    (run / "metrics.csv").write_text("step,val/recall\n100,oops\n")
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "x.html")]) == 1
    assert "metrics.csv is damaged: 'oops' is no number" in capsys.readouterr().err


# ---------------------------------------------------------------------- tables


def row(low: float | None, high: float | None, better: str = "higher", unit: str = "") -> ScoreRow:
    return ScoreRow(((low or 0.0) + (high or 0.0)) / 2, better, low, high, unit=unit)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(0.1, 0.2), row(0.3, 0.4), row(0.0, 0.1)], 1),
        ([row(0.1, 0.2, "lower"), row(0.3, 0.4, "lower")], 0),
        ([row(0.1, 0.3), row(0.3, 0.4)], None),  # they touch
        ([row(0.1, 0.2), row(0.3, 0.4), row(0.35, 0.5)], None),
        ([row(None, None), row(0.3, 0.4)], None),
        ([row(0.1, 0.2), None], None),
        ([row(0.1, 0.2), None, row(0.3, 0.4)], 2),
        ([row(0.1, 0.2, unit="nats"), row(0.3, 0.4, unit="bits/dim")], None),
        ([row(float("nan"), float("nan")), row(0.3, 0.4)], None),
    ],
)
def test_the_best_is_marked_only_beyond_doubt(rows: list[ScoreRow | None], expected: int | None) -> None:
    assert best(rows) == expected


def test_numbers_of_a_row_share_their_decimals() -> None:
    assert [decimals([value]) for value in (0.05, 1.0, 1.5, 15.0, 150.0, 1500.0, 0.0, float("nan"))] == [
        *(4, 4, 3, 2, 1, 0, 4, 4),
    ]
    assert number(-1234.5, 1) == "−1,234.5"
    assert number(float("nan"), 2) == "–"


def test_the_best_the_floor_and_the_cost_stand_in_every_table(
    report: Callable[..., Page], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    better = {"recall": score(0.9, floor=0.95), "fd": score(2.0, "lower")}
    make_run(tmp_path, "good", scores=better, cost={"parameters": 12345, "sampling_ms_per_image": 2.5})
    make_run(tmp_path, "poor", scores={"recall": score(0.5, floor=0.95), "fd": score(2.01, "lower")})
    page = report("good", "poor")
    assert [attrs.get("title") for attrs in page.all("strong")] == ["best of the row"]
    assert "0.9500" in page.text
    out = capsys.readouterr().out
    assert "0.9000*" in out
    assert "12,345" in out
    table = (tmp_path / "compare.md").read_text()
    assert (
        "| recall (higher is better) | **0.9000** (0.8900 to 0.9100) | 0.5000 (0.4900 to 0.5100) | 0.9500 (± 0.0020) |"
        in table
    )
    assert "| sampling ms/image | 2.50 | – |" in table
    assert "| training minutes (evaluation left out) | 0.667 | 0.667 |" in table  # from the logs: 40 seconds


# ---------------------------------------------------------------------- as a user would


def test_two_real_runs_are_compared_by_the_real_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["--trainer.max_steps", "4", "--trainer.val_check_interval", "2", "--evaluation.n_samples", "60"]
    for name in ("cgan", "mlp_vae"):
        configs = [
            arg for part in ("trainer/default", f"model/{name}", "data/digits") for arg in ("-c", f"{part}.yaml")
        ]
        assert main(["fit", *configs, "--name", name, *short, "--trainer.log_every_n_steps", "1"]) == 0
        (run,) = (tmp_path / "runs" / name).iterdir()
        assert main(["test", "-c", str(run), "--ckpt_path", str(run)]) == 0
    command = [sys.executable, "-m", "condgen", "compare", "runs/cgan", "runs/mlp_vae", "--out", "out/report.html"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "report       out/report.html" in done.stdout
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert page.text.count("Drawn anew from the checkpoint.") == 2
    assert len(page.all("img")) == 4
    assert "fd_digits of cgan, mlp_vae against minutes of training" in [
        attrs.get("aria-label") for attrs in page.all("svg")
    ]
    assert "the checkpoint is not the one" not in page.text
    assert "left out, because" not in page.text
    table = (tmp_path / "out" / "report.md").read_text()
    assert re.search(r"\| training minutes \(evaluation left out\) \| 0\.\d+ \| 0\.\d+ \|", table)
