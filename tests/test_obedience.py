"""Obedience: what real images score beside their own conditions, beside those of others, and by reference formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from condgen.callbacks import EvaluateSamples
from condgen.data import ImageSet, Shapes
from condgen.metrics import EdgeAgreement, Obedience, PairedError, ShapesFacts, ShapesMask
from condgen.models import GenerativeModel
from condgen.models.asking import ask, draw
from condgen.pixels import to_model_range
from condgen.types import Condition


def shapes(*conditions: str, n_objects: int = 1, image_size: int = 32, **settings: Any) -> ImageSet:
    data = Shapes(n_test=400, image_size=image_size, n_objects=n_objects, conditions=conditions, **settings)
    return data.images("test").all()


def scored(metric: Obedience, images: Tensor, cond: Condition, target: Tensor | None = None) -> dict[str, float]:
    metric.reset()
    for rows in torch.arange(len(images)).split(150):
        part = {key: value[rows] for key, value in cond.items()}
        metric.update(images[rows], part, None if target is None else target[rows])
    return {name: float(value) for name, value in metric.compute().items()}


def others(cond: Condition) -> Condition:
    return {key: value.roll(1, 0) for key, value in cond.items()}


FACTS = {"shape", "colour", "size_name", "place", "count", "all_facts"}


@pytest.mark.parametrize(
    ("conditions", "n_objects", "names"),
    [
        (["text"], 1, FACTS),
        (["text"], 2, FACTS),
        (["attributes"], 1, FACTS | {"size", "position"}),
        (["label"], 1, {"shape", "count", "all_facts"}),
    ],
)
def test_real_shapes_obey_their_own_conditions_and_not_those_of_others(
    conditions: list[str], n_objects: int, names: set[str]
) -> None:
    rows = shapes(*conditions, n_objects=n_objects)
    mine = scored(metric := ShapesFacts(n_objects), rows.pixels, rows.cond)
    assert set(mine) == names
    assert min(mine.values()) > 0.99
    theirs = scored(metric, rows.pixels, others(rows.cond))
    assert 0.03 < theirs["shape"] < 0.4
    assert theirs["all_facts"] < 0.3
    for name, (low, high) in metric.intervals().items():
        assert 0.0 <= low <= theirs[name] <= high <= 1.0
        assert high - low < 0.15


def test_masks_are_compared_class_by_class() -> None:
    rows = shapes("mask")
    assert scored(ShapesMask(), rows.pixels, rows.cond)["mask_iou"] > 0.95
    assert scored(ShapesMask(), rows.pixels, others(rows.cond))["mask_iou"] < 0.4
    nothing = torch.zeros_like(rows.pixels)
    background = float((rows.cond["mask"] == 0).float().mean())
    assert scored(ShapesMask(), nothing, rows.cond)["mask_iou"] == pytest.approx(background / 5, abs=1e-6)


def test_edges_are_matched_within_a_pixel() -> None:
    rows = shapes("source")
    mine, theirs = (scored(EdgeAgreement(), rows.pixels, cond)["edge_f1"] for cond in (rows.cond, others(rows.cond)))
    assert mine > 0.9
    assert theirs < 0.6
    assert scored(EdgeAgreement(), torch.full_like(rows.pixels, 7), rows.cond)["edge_f1"] == 0.0


def test_paired_errors_are_those_of_the_formulas() -> None:
    source = torch.Generator().manual_seed(0)
    target = torch.randint(256, (6, 3, 16, 16), generator=source, dtype=torch.uint8)
    image = (target.int() + torch.randint(-20, 21, target.shape, generator=source)).clamp(0, 255).to(torch.uint8)
    found = scored(PairedError(), image, {}, target)
    psnr = [
        peak_signal_noise_ratio(a.double(), b.double(), data_range=255.0) for a, b in zip(image, target, strict=True)
    ]
    assert found["psnr"] == pytest.approx(float(torch.stack(psnr).mean()), rel=1e-5)
    assert found["l1"] == pytest.approx(float((image.double() - target).abs().mean()), rel=1e-6)
    assert 0.5 < found["ssim"] < 1.0
    assert scored(PairedError(), target, {}, target) == {"psnr": 100.0, "ssim": pytest.approx(1.0), "l1": 0.0}


def test_senseless_input_is_refused() -> None:
    rows = shapes("mask")
    with pytest.raises(ValueError, match="PairedError needs a target like each image, got NoneType"):
        PairedError().update(rows.pixels, {}, None)
    with pytest.raises(ValueError, match=r"images must be \(N, C, H, W\) uint8"):
        ShapesMask().update(rows.pixels.float(), rows.cond, None)
    with pytest.raises(ValueError, match="condition 'mask' must have one row per image: 3 for 400"):
        ShapesMask().update(rows.pixels, {"mask": rows.cond["mask"][:3]}, None)
    with pytest.raises(ValueError, match="n_objects must be 1 or 2, got 3"):
        ShapesFacts(3)
    with pytest.raises(RuntimeError, match="compute must be called first"):
        ShapesMask().intervals()


def test_samples_are_asked_for_what_real_images_show(make_trainer: Callable[..., L.Trainer]) -> None:
    from conftest import small_cgan

    data = Shapes(n_train=64, n_validation=40, n_test=40, image_size=16, batch_size=16)
    model = small_cgan(data)
    callback = EvaluateSamples(obedience=[ShapesFacts()], n_samples=30)
    trainer = make_trainer(callbacks=[callback], max_steps=2, limit_val_batches=1.0, val_check_interval=2)
    trainer.fit(model, data)
    assert 0.0 <= float(trainer.callback_metrics["val/shape"]) <= 1.0
    make_trainer(callbacks=[callback]).test(model, data, verbose=False)
    assert callback.result is not None
    row = callback.result["scores"]["shape"]
    assert row["floor"]["mean"] > 0.9
    assert row["low"] <= row["value"] <= row["high"]
    assert callback.result["protocol"]["obedience"] == ["ShapesFacts"]
    assert "extractor" not in callback.result["protocol"]
    wrong = EvaluateSamples(obedience=[ShapesMask()], n_samples=30)
    with pytest.raises(ValueError, match="ShapesMask compares with 'mask'; samples are asked for label"):
        make_trainer(callbacks=[wrong]).test(model, data, verbose=False)


class Echo:
    """Stands for a model that shows what it is asked for."""

    sample_chunk = 4
    condition_keys = ("source",)
    cond_spec = {"source": {"channels": 3}, "label": {"names": ["a"]}}  # noqa: RUF012

    def sample(self, cond: Condition, seeds: Tensor) -> Tensor:
        assert set(cond) == {"source"}
        assert len(seeds) == len(cond["source"])
        return to_model_range(cond["source"])


def test_rows_of_a_split_are_asked_for_in_an_order_of_their_own() -> None:
    pixels = torch.arange(10, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    split = ImageSet(pixels, {"source": pixels})
    model: GenerativeModel = Echo()  # type: ignore[assignment]
    asked = ask(model, torch.arange(25), lambda: split)
    assert asked.target is not None
    assert torch.equal(draw(model, asked.cond, torch.arange(25)), asked.target)
    levels = asked.target[:, 0, 0, 0].tolist()
    assert sorted(levels[:10]) == list(range(10)) != levels[:10]
    assert levels[10:20] == levels[:10]
    assert torch.equal(ask(model, torch.arange(5, 9), lambda: split).cond["source"], asked.cond["source"][5:9])


def test_grids_show_conditions_beside_samples(tmp_path: Path, make_trainer: Callable[..., L.Trainer]) -> None:
    from condgen.callbacks import SampleGrid
    from condgen.conditions import Compose, MaskEncoder, TextEncoder
    from condgen.models import DCGAN

    data = Shapes(n_train=32, n_validation=32, n_test=32, image_size=16, conditions=["text", "mask"], batch_size=16)
    model = DCGAN(data.image_shape, data.cond_spec, encoder=partial(Compose, encoders=[TextEncoder, MaskEncoder]))
    trainer = make_trainer(max_steps=1, default_root_dir=tmp_path, callbacks=[SampleGrid(columns=3, max_rows=4)])
    trainer.fit(model, data)
    (picture,) = tmp_path.rglob("images-*.png")
    lines = (picture.parent / "rows.txt").read_text().splitlines()
    assert len(lines) == 4
    width, height = Image.open(picture).size
    assert width / height == pytest.approx(5 / 4, rel=0.02)  # mask, real image and three samples by four rows


def test_shares_of_facts_have_wilson_intervals() -> None:
    images = Shapes(conditions=["text"]).drawn["test"].take(torch.arange(50))
    metric = ShapesFacts()
    metric.update(images.pixels, images.cond, None)
    assert metric.compute()["shape"] == 1.0
    low, high = metric.intervals()["shape"]
    due = binomtest(50, 50).proportion_ci(method="wilson")
    assert (float(low), float(high)) == pytest.approx((due.low, due.high), abs=1e-4)
