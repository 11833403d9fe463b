"""The page that `condgen compare` writes: whole, honest about what is missing, and drawn from the runs' own files."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from conftest import small_cgan
from PIL import Image
from report_runs import PROTOCOL, Page, log, make_run

from condgen.callbacks import EvaluateSamples
from condgen.checkpoints import load_model
from condgen.data import Digits, ImageSet
from condgen.metrics import DigitsExtractor, Extractor, ModuleExtractor
from condgen.pictures import grid
from condgen.pixels import to_uint8
from condgen.report import read_runs
from condgen.report.charts import Axis, nice_step
from condgen.report.classes import confusion
from condgen.report.history import against_time, read_history
from condgen.report.neighbours import nearest_features, nearest_rows

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
    content["protocol"] = dict.fromkeys(PROTOCOL)  # images from files have no model, no seeds, no sampler
    (tmp_path / "files.json").write_text(json.dumps(content))
    page = report("a", "b/metrics.json", "files.json", "--force")
    for words in (
        "No samples: what was scored came from no run, and no grids were stored.",
        "Left out: no run has precision and recall.",
        "Left out: no run has a log with scores",
        "left out, because its samples were not drawn anew",
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
    place = nearest_rows(images[::8], digits.images("train"))[1]
    assert np.array_equal(near, grid(torch.cat([images[::8], train[place]]), 10)[0].numpy())


def test_other_weights_than_the_scored_ones_are_noticed(
    report: Callable[..., Page], tmp_path: Path, make_trainer: Callable[..., L.Trainer], digits: Digits
) -> None:
    trained_run(tmp_path, "a", make_trainer, digits, weights_sha256="0" * 64)
    trained_run(tmp_path, "b", make_trainer, digits, data_class="condgen.data.Nowhere")
    page = report("a", "b")
    assert "the checkpoint is not the one that was scored" in page.text
    assert "b: left out, because its training images cannot be read: no class condgen.data.Nowhere" in page.text


def test_data_that_are_not_here_are_never_downloaded(
    report: Callable[..., Page], tmp_path: Path, make_trainer: Callable[..., L.Trainer], digits: Digits
) -> None:
    settings = {"data_class": "condgen.data.MNIST", "data_args": {"root": "nowhere", "download": True}}
    trained_run(tmp_path, "a", make_trainer, digits, **settings)
    make_run(tmp_path, "b")
    assert "a: left out, because its training images cannot be read" in report("a", "b").text
    assert not (tmp_path / "nowhere").exists()


# ---------------------------------------------------------------------- neighbours


def scored_run(
    root: Path, name: str, make_trainer: Callable[..., L.Trainer], digits: Digits, extractor: Extractor, card: Any
) -> Path:
    """A run that was scored by an extractor, which the config of the evaluation names."""
    about = {"name": extractor.name, "sha256": extractor.sha256}
    run = trained_run(root, name, make_trainer, digits, weights_sha256=None, extractor=about)
    config = run.with_name(f"{run.name}-test") / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"evaluation": {"extractor": card}}))
    return run


def test_neighbours_are_by_the_features_that_the_run_was_scored_on(
    report: Callable[..., Page], tmp_path: Path, make_trainer: Callable[..., L.Trainer], digits: Digits
) -> None:
    pool = {"class_path": "torch.nn.AdaptiveMaxPool2d", "init_args": {"output_size": [1, 1]}}
    settings = {"name": "pooled", "image_shape": [1, 8, 8]}
    pooled = ModuleExtractor(torch.nn.AdaptiveMaxPool2d((1, 1)), "pooled", (1, 8, 8))
    module = {"class_path": "condgen.metrics.ModuleExtractor", "init_args": settings | {"module": pool}}
    extractors = {"a": (DigitsExtractor(), None), "b": (pooled, module)}
    runs = [scored_run(tmp_path, name, make_trainer, digits, *pair) for name, pair in extractors.items()]
    page = report("a", "b", "--force")
    for words in ("By features of digits.", "By features of pooled.", "by the features that the run was scored on"):
        assert words in page.text
    train, pictures = digits.images("train"), page.all("img")[2:]
    for run, (extractor, _), attrs in zip(runs, extractors.values(), pictures, strict=True):
        images = to_uint8(load_model(run).sample({"label": torch.arange(10)}, seeds=torch.zeros(10, dtype=torch.int64)))
        table = torch.cdist(extractor(images).double(), extractor(train.pixels).double())
        place = table.argmin(dim=1)
        assert np.array_equal(decoded(attrs), grid(torch.cat([images, train.pixels[place]]), 10)[0].numpy())
        assert not torch.equal(place, nearest_rows(images, train)[1])


def test_features_of_training_images_are_those_that_the_test_kept(
    make_trainer: Callable[..., L.Trainer], digits: Digits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path))
    images = digits.images("test").take(torch.arange(5)).pixels
    made = nearest_features(images, digits, DigitsExtractor())
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path / "other"))
    callback = EvaluateSamples(DigitsExtractor(), n_samples=20, floor=False)
    make_trainer(callbacks=[callback]).test(small_cgan(digits), digits, verbose=False)
    monkeypatch.setattr(ImageSet, "blocks", None)  # no training image is read again
    distance, place = nearest_features(images, digits, DigitsExtractor())
    assert torch.equal(place, made[1])
    assert torch.equal(distance, made[0])
    assert float(distance.min()) > 0


@pytest.mark.parametrize(
    ("about", "card", "reason"),
    [
        ({"name": "digits", "sha256": "d" * 64}, None, "the extractor digits that scored it is not the one of condgen"),
        ({"name": "mine", "sha256": "d" * 64}, None, "its extractor mine is named by no config"),
        ({"name": "mine", "sha256": "d" * 64}, {"class_path": "os.system"}, "os.system is Python's own"),
        ({"name": "inception", "sha256": "d" * 64}, None, "weights-inception"),
        (None, None, "no extractor scored it"),
    ],
)
def test_pixels_are_compared_where_the_features_cannot_be_had_and_why_is_said(
    about: Any,
    card: Any,
    reason: str,
    report: Callable[..., Page],
    tmp_path: Path,
    make_trainer: Callable[..., L.Trainer],
    digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    if about is not None and about["name"] == "inception":
        pytest.importorskip("torch_fidelity", reason="needs the extra 'eval'")
    run = scored_run(tmp_path, "a", make_trainer, digits, DigitsExtractor(), card)
    file = run.with_name(f"{run.name}-test") / "metrics.json"
    content = json.loads(file.read_text())
    content["protocol"]["extractor"] = about
    file.write_text(json.dumps(content))
    make_run(tmp_path, "b", extractor=about)
    page = report("a", "b")
    found = re.search(r"By (pixels, since .*?)\. run by", page.text)
    assert found
    assert reason in found[1]
    assert not (tmp_path / "hub").exists()


def test_nearest_rows_are_those_of_the_whole_table() -> None:
    source = torch.Generator().manual_seed(0)
    among = torch.randint(256, (1500, 1, 4, 4), generator=source, dtype=torch.uint8)
    images = torch.cat([among[1037:1038], torch.randint(256, (6, 1, 4, 4), generator=source, dtype=torch.uint8)])
    distance, place = nearest_rows(images, ImageSet(among, {}))
    table = (images[:, None].double() - among[None].double()).square().mean(dim=(2, 3, 4)).sqrt()
    assert torch.equal(place, table.argmin(dim=1))
    assert torch.allclose(distance.double(), table.min(dim=1).values, atol=1e-3)
    assert (int(place[0]), float(distance[0])) == (1037, pytest.approx(0.0, abs=0.5))
