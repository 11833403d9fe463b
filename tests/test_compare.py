"""`condgen compare`: which runs may be compared, and what the page says of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from conftest import REPO, small_cgan
from PIL import Image
from report_runs import PROTOCOL, log, make_run, score

from condgen.checkpoints import load_model
from condgen.cli import main
from condgen.data import Digits
from condgen.pictures import grid
from condgen.pixels import to_uint8
from condgen.report import read_runs, unlike
from condgen.report.charts import Axis, nice_step
from condgen.report.classes import confusion
from condgen.report.history import against_time, read_history
from condgen.report.protocol import ABSENT
from condgen.report.runs import ScoreRow
from condgen.report.samples import nearest_rows
from condgen.report.tables import best, decimals, number

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


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Page]:
    """Compare runs, and return the page."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> Page:
        assert main(["compare", *map(str, args)]) == 0
        return Page((tmp_path / "compare.html").read_text())

    return run


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
    assert "n_samples : 5000 in a, 1000 in b" in page.text
    assert "seeds : 0–4999 in a, 0–999 in b" in page.text
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
    assert f"{run} has no metrics.json; score it first: condgen test -c {run}" in refused("runs/a", "runs/b")
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
    assert "| recall (higher is better) | **0.9000** (0.8900 to 0.9100) | 0.5000 (0.4900 to 0.5100) | 0.9500 |" in table
    assert "| sampling ms/image | 2.50 | – |" in table
    assert "| training minutes (evaluation left out) | 0.667 | 0.667 |" in table  # from the logs: 40 seconds


# ---------------------------------------------------------------------- the page


def test_the_page_is_whole_and_needs_nothing_else(report: Callable[..., Page], tmp_path: Path) -> None:
    make_run(tmp_path, "a", warnings=["few samples"])
    make_run(tmp_path, "b", warnings=["few samples"])
    page = report("a", "b")
    text = (tmp_path / "compare.html").read_text()
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", text)
    assert page.all("html")[0]["lang"] == "en"
    tables, heads = page.all("table"), [attrs for attrs in page.all("th") if attrs.get("scope") == "col"]
    assert len(tables) == len(page.all("thead")) <= len(heads)
    assert all(attrs["src"].startswith("data:image/png;base64,") and attrs["alt"] for attrs in page.all("img"))
    assert all(attrs.get("aria-label") or attrs.get("aria-hidden") for attrs in page.all("svg"))
    links = {attrs["href"] for attrs in page.all("a")}
    assert links == {f"#{attrs['id']}" for attrs in page.all("section")} - {"#runs"}
    assert "few samples in all runs" in page.text
    assert not list(tmp_path.glob(".*.part"))


def test_names_are_text_wherever_they_stand(report: Callable[..., Page], tmp_path: Path) -> None:
    name = "<b>&\"'|x[red]"
    make_run(
        tmp_path, name, warnings=["<i>"], per_class={"names": ["<u>", "1"], "fd": [1.0, 2.0], "confusion": [[1, 0]] * 2}
    )
    make_run(tmp_path, "plain")
    page = report(name, "plain")
    assert not page.all("b")
    assert not page.all("i")
    assert not page.all("u")
    assert name in page.text
    assert "\\|x[red]" in (tmp_path / "compare.md").read_text()


def test_many_classes_and_classes_without_a_score_are_shown(report: Callable[..., Page], tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(30)]
    matrix = (torch.eye(30, dtype=torch.int64) * 9).tolist()
    matrix[4][7] = 5
    many = {
        "names": names,
        "label_accuracy": [0.5] * 29 + [None],
        "fd": [float("nan"), *range(29)],
        "confusion": matrix,
    }
    make_run(tmp_path, "a", per_class=many)
    make_run(tmp_path, "b", per_class={})
    text = report("a", "b").text
    assert "The 1 most frequent confusions" in text
    assert "class 4 class 7 5 (36%)" in text
    matrix = str(confusion(0, read_runs([str(tmp_path / name) for name in "ab"])[0]))
    assert "class 29" not in matrix


def test_parts_that_are_missing_are_said_to_be(report: Callable[..., Page], tmp_path: Path) -> None:
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        content = {"scores": {"elbo": {"value": -3.0, "better": "higher", "unit": "nats"}}, "protocol": {}}
        (folder / "metrics.json").write_text(json.dumps(content))
    page = report("a", "b/metrics.json")
    for words in (
        "No samples: the checkpoint that was scored is not here, and the run stored no grids.",
        "Left out: no run has precision and recall.",
        "Left out: no run has a log with scores",
        "a: left out, because its samples were not drawn anew.",
        "Left out: no run has scores by class.",
        "None of the evaluations gave a warning.",
    ):
        assert words in page.text


# ---------------------------------------------------------------------- curves


def test_a_log_goes_over_all_parts_of_a_run(tmp_path: Path) -> None:
    first, second = tmp_path / "m" / "20260101-000000", tmp_path / "m" / "20260102-000000"
    log(first, [(100, 1.0), (200, 2.0), (300, 3.0)])  # 300 came after the checkpoint, and was thrown away
    log(second, [(300, 3.5), (400, 4.5)])
    (second / "config.yaml").write_text(f"# lightning\n# checkpoint: {first}/checkpoints/last.ckpt\nname: m\n")
    (first / "config.yaml").write_text(f"# checkpoint: {second}/checkpoints/last.ckpt\n")  # a circle does no harm
    history = read_history(second)
    assert history["time/seconds"] == [(100, 1.0), (200, 2.0), (300, 3.5), (400, 4.5)]
    assert [images for images, _ in history["val/recall"]] == [100, 200, 300, 400]
    (tmp_path / "m").rename(tmp_path / "moved")
    assert read_history(tmp_path / "moved" / second.name) == history
    assert read_history(tmp_path) == {}


def test_time_is_interpolated_between_rows_of_the_log() -> None:
    assert against_time([(150, 0.5), (200, 0.7)], [(100, 60.0), (200, 120.0)]) == [(1.5, 0.5), (2.0, 0.7)]


def test_curves_are_drawn_against_images_and_time(report: Callable[..., Page], tmp_path: Path) -> None:
    make_run(tmp_path, "a")
    run = make_run(tmp_path, "b")
    log(run, [(100, 1.0), (400, 2.0)], timed=False)
    page = report("a", "b")
    labels = [attrs["aria-label"] for attrs in page.all("svg") if attrs.get("aria-label")]
    assert "recall of a, b against images seen" in labels
    assert "recall of a, b against minutes of training" in labels
    assert "Without training time in the log: b." in page.text


@pytest.mark.parametrize("values", [[0.0, 1.0], [3.0, 3.0], [-5.0, 1e6], [1e-7, 2e-7], [float("nan"), 2.0, None], []])
def test_an_axis_reaches_its_values_by_few_whole_ticks(values: list[float | None]) -> None:
    axis = Axis(values, 10, 110)
    assert 2 <= len(axis.ticks) <= 8
    for value in values:
        if value is not None and np.isfinite(value):
            assert 10 - 1e-6 <= axis.at(value) <= 110 + 1e-6
    assert len({axis.label(tick) for tick in axis.ticks}) == len(axis.ticks)


@pytest.mark.parametrize(("least", "step"), [(0.11, 0.2), (1.0, 1.0), (2.01, 5.0), (0.51, 1.0), (3e4, 5e4)])
def test_steps_are_round(least: float, step: float) -> None:
    assert nice_step(least) == pytest.approx(step)


# ---------------------------------------------------------------------- pictures


def decoded(attrs: dict[str, str | None]) -> np.ndarray:
    return np.array(Image.open(BytesIO(b64decode(str(attrs["src"]).partition(",")[2]))))


def trained_run(root: Path, name: str, make_trainer: Callable[..., L.Trainer], digits: Digits, **protocol: Any) -> Path:
    run = make_run(root, name, **protocol)
    trainer = make_trainer(max_steps=2)
    trainer.fit(small_cgan(digits, ema_half_life=100.0), digits)
    trainer.save_checkpoint(run / "checkpoints" / "last.ckpt")
    return run


@pytest.mark.parametrize("ema", [True, False])
def test_grids_are_those_of_the_checkpoint_by_the_same_seeds(
    report: Callable[..., Page], tmp_path: Path, make_trainer: Callable[..., L.Trainer], digits: Digits, ema: bool
) -> None:
    run = trained_run(tmp_path, "a", make_trainer, digits, ema=ema, weights_sha256=None)
    stored = make_run(tmp_path, "b", data_class="condgen.data.Nowhere")
    page = report("a", "b")
    model = load_model(run)
    model.raw = not ema
    label, seeds = torch.arange(10).repeat_interleave(8), torch.arange(8).repeat(10)
    images = to_uint8(model.sample({"label": label}, seeds=seeds))
    mine, theirs, near = (decoded(attrs) for attrs in page.all("img"))
    assert np.array_equal(mine, grid(images, 8)[0].numpy())
    assert np.array_equal(theirs, np.array(Image.open(stored / "samples" / "images-000000400.png")))
    assert "The grid that the run stored at 400 images, since the checkpoint" in page.text
    train = digits.images("train").pixels
    place = nearest_rows(images[::8], train)[1]
    assert np.array_equal(near, grid(torch.cat([images[::8], train[place]]), 10)[0].numpy())


def test_other_weights_than_the_scored_ones_are_noticed(
    report: Callable[..., Page], tmp_path: Path, make_trainer: Callable[..., L.Trainer], digits: Digits
) -> None:
    trained_run(tmp_path, "a", make_trainer, digits, weights_sha256="0" * 64)
    trained_run(tmp_path, "b", make_trainer, digits, data_class="condgen.data.Nowhere")
    page = report("a", "b")
    assert "the checkpoint is not the one that was scored" in page.text
    assert "b: left out, because its training images cannot be read: uses the class condgen.data.Nowhere" in page.text


def test_data_that_are_not_here_are_never_downloaded(
    report: Callable[..., Page], tmp_path: Path, make_trainer: Callable[..., L.Trainer], digits: Digits
) -> None:
    settings = {"data_class": "condgen.data.MNIST", "data_args": {"root": "nowhere", "download": True}}
    trained_run(tmp_path, "a", make_trainer, digits, **settings)
    make_run(tmp_path, "b")
    assert "a: left out, because its training images cannot be read" in report("a", "b").text
    assert not (tmp_path / "nowhere").exists()


def test_nearest_rows_are_those_of_the_whole_table() -> None:
    source = torch.Generator().manual_seed(0)
    among = torch.randint(256, (50, 1, 4, 4), generator=source, dtype=torch.uint8)
    images = torch.cat([among[37:38], torch.randint(256, (6, 1, 4, 4), generator=source, dtype=torch.uint8)])
    distance, place = nearest_rows(images, among, chunk=7)
    table = (images[:, None].double() - among[None].double()).square().mean(dim=(2, 3, 4)).sqrt()
    assert torch.equal(place, table.argmin(dim=1))
    assert torch.allclose(distance.double(), table.min(dim=1).values, atol=1e-3)
    assert (int(place[0]), float(distance[0])) == (37, pytest.approx(0.0, abs=0.5))


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
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(REPO)}, timeout=300
    )
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
