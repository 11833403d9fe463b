"""Segmenters: what they are trained by, the files they leave, and the scores of samples as they see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from conftest import same_weights
from sklearn.metrics import accuracy_score, jaccard_score
from torch import Tensor
from torch.nn import functional as F

from condgen.callbacks import EvaluateSamples, ExportRecogniser
from condgen.conditions import MaskEncoder
from condgen.data import ImageSet, Shapes
from condgen.masks import common_and_joint, mean_iou, pixel_accuracy
from condgen.metrics import PerceptualDistance, SegmentedMask
from condgen.metrics.intervals import bootstrap_sums
from condgen.metrics.saved_net import read_net, save_net
from condgen.models import DCGAN, Segmenter
from condgen.nets import ConvClassifier, SegmentationUNet
from condgen.objectives import balanced_cross_entropy
from condgen.pixels import to_model_range

MakeTrainer = Callable[..., L.Trainer]
TINY = partial(SegmentationUNet, widths=(8, 16), dropout=0.0)


def shapes(**kwargs: Any) -> Shapes:
    settings: dict[str, Any] = {"image_size": 16, "conditions": ["mask"], "batch_size": 16, "eval_batch_size": 24}
    return Shapes(256, 40, 40, **settings | kwargs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Segmenter, Path, dict[str, float]]:
    """A segmenter of drawn shapes after a few seconds, the file that `fit` left, and its scores on the test split."""
    folder, data = tmp_path_factory.mktemp("segmenter"), shapes()
    model = Segmenter(data.image_shape, data.cond_spec, net=TINY, lr=1e-2, balance=0.5)
    settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    settings |= {"enable_model_summary": False, "default_root_dir": folder, "accelerator": "cpu", "devices": 1}
    L.Trainer(max_steps=400, limit_val_batches=0, callbacks=[ExportRecogniser()], **settings).fit(model, data)
    scores = {}
    for stage, name in (("validate", "val"), ("test", "test")):
        trainer = L.Trainer(**settings)
        getattr(trainer, stage)(model, data, verbose=False)
        scores |= {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith(name)}
    return model, folder / "segmenter.safetensors", scores


@pytest.fixture
def rows() -> ImageSet:
    return shapes().images("test").all()


def measured(metric: SegmentedMask | PerceptualDistance, rows: ImageSet, target: Tensor | None) -> dict[str, float]:
    metric.reset()
    for part in torch.arange(len(rows)).split(15):
        some = rows.take(part)
        metric.update(some.pixels, some.cond, None if target is None else target[part])
    return {name: float(value) for name, value in metric.compute().items()}


# ---------------------------------------------------------------------- masks, loss and net


def test_scores_of_masks_are_those_of_the_reference() -> None:
    source = torch.Generator().manual_seed(0)
    due = torch.randint(5, (4, 6, 7), generator=source)
    found = torch.where(torch.rand(due.shape, generator=source) < 0.5, due, due.flip(0))
    total = common_and_joint(found, due, 8).sum(dim=0, keepdim=True)  # three classes never occur
    flat = due.flatten().numpy(), found.flatten().numpy()
    assert float(pixel_accuracy(total)) == pytest.approx(accuracy_score(*flat))
    assert float(mean_iou(total)) == pytest.approx(jaccard_score(*flat, average="macro"))


@pytest.mark.parametrize("shape", [(), (5, 6)])
def test_balance_goes_from_items_to_classes(shape: tuple[int, ...]) -> None:
    source = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 4, *shape, generator=source)
    due = (torch.rand(40, *shape, generator=source) ** 3 * 3).long()  # the last class is absent
    each = F.cross_entropy(logits, due, reduction="none")
    classes = torch.stack([each[due == k].mean() for k in range(3)])
    torch.testing.assert_close(balanced_cross_entropy(logits, due, 0.0), each.mean())
    torch.testing.assert_close(balanced_cross_entropy(logits, due, 1.0), classes.mean())
    between = float(balanced_cross_entropy(logits, due, 0.5))
    assert min(each.mean(), classes.mean()) < between < max(each.mean(), classes.mean())


def test_the_net_tells_each_pixel_by_what_is_around_it() -> None:
    net = SegmentationUNet((3, 16, 24), 5, widths=(4, 6, 8)).eval()
    image = torch.rand(2, 3, 16, 24) * 2 - 1
    assert net(image).shape == (2, 5, 16, 24)
    assert [tuple(each.shape) for each in net.features(image)] == [(2, 4, 16, 24), (2, 6, 8, 12), (2, 8, 4, 6)]
    torch.testing.assert_close(net(image[:1]), net(image)[:1])
    other = image.clone()
    other[:, :, 0, 0] = -other[:, :, 0, 0]
    changed = (net(other) != net(image)).any(dim=1)
    assert changed[:, 0, 0].all()
    assert not changed[:, -1, -1].any()  # 16 and 24 pixels away
    with pytest.raises(ValueError, match="3 widths need sides divisible by 4, got 18x16"):
        SegmentationUNet((3, 18, 16), 5, widths=(4, 6, 8))


# ---------------------------------------------------------------------- training and files


def test_fit_leaves_a_segmenter_that_judges(trained: tuple[Segmenter, Path, dict[str, float]], rows: ImageSet) -> None:
    model, path, scores = trained
    saved = read_net(str(path), SegmentationUNet, "segmenter")
    assert same_weights(saved.net, model.net)
    assert not saved.net.training
    assert saved.card["images_seen"] == model.images_seen == 400 * 16
    mine = measured(SegmentedMask(str(path)), rows, None)
    assert mine["pixel_accuracy"] > 0.9
    assert mine["mean_iou"] > 0.3  # background alone gives 0.19
    for name in ("pixel_accuracy", "mean_iou"):
        assert mine[name] == pytest.approx(saved.card[f"test_{name}"], abs=1e-9)
        assert scores[f"test/{name}"] == pytest.approx(mine[name], abs=1e-6)
        assert scores[f"val/{name}"] == pytest.approx(saved.card[f"validation_{name}"], abs=1e-6)


def test_what_is_no_segmenter_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(ValueError, match=r"is not a segmenter saved by condgen: .*No such file"):
        SegmentedMask(str(path))
    path.write_bytes(b"other")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        SegmentedMask(str(path))
    save_net(ConvClassifier((3, 16, 16), 5, widths=(4, 4)), path, {"name": "x"})
    with pytest.raises(ValueError, match=r"x.safetensors is not a segmenter saved by condgen: .*feature_dim") as error:
        SegmentedMask(str(path))
    assert "\n" not in str(error.value)
    net = TINY((3, 16, 16), 5)
    net.settings = {"widths": [200_000, 800_000]}  # of 6 TB in float32
    save_net(net, path, {"name": "x"})
    with pytest.raises(ValueError, match="is not a segmenter saved by condgen: size mismatch"):
        SegmentedMask(str(path))


def test_settings_that_make_no_sense_are_named() -> None:
    data = shapes(conditions=["label"])
    with pytest.raises(ValueError, match="a segmenter needs the condition 'mask', which the data does not offer"):
        Segmenter(data.image_shape, data.cond_spec)
    with pytest.raises(ValueError, match=r"balance must be from 0 to 1, got 1\.5"):
        Segmenter(data.image_shape, shapes().cond_spec, balance=1.5)


# ---------------------------------------------------------------------- scores


def test_samples_are_compared_with_the_masks_asked_for(
    trained: tuple[Segmenter, Path, dict[str, float]], rows: ImageSet
) -> None:
    metric = SegmentedMask(str(trained[1]))
    mine = measured(metric, rows, None)
    theirs = measured(metric, ImageSet(rows.pixels, {"mask": rows.cond["mask"].roll(1, 0)}), None)
    assert theirs["pixel_accuracy"] < mine["pixel_accuracy"] - 0.02
    assert theirs["mean_iou"] < mine["mean_iou"] - 0.1
    for name, (low, high) in metric.intervals().items():
        assert 0.0 <= low < theirs[name] < high <= 1.0
    with pytest.raises(ValueError, match=r"image must be \(N, 3, 16, 16\), got \(40, 3, 8, 8\)"):
        metric.update(rows.pixels[:, :, ::2, ::2], rows.cond, None)
    with pytest.raises(ValueError, match=r"mask must be in \[0, 4\], got 9"):
        metric.update(rows.pixels, {"mask": rows.cond["mask"] + 5}, None)


def test_the_distance_is_that_of_the_formula(trained: tuple[Segmenter, Path, dict[str, float]], rows: ImageSet) -> None:
    """Zhang et al. 2018, Eq. 1, place by place, with weights of 1."""
    metric = PerceptualDistance(str(trained[1]))
    other = rows.pixels.flip(3)
    expected = 0.0
    for x, y in zip(*(metric.net.features(to_model_range(each[:3])) for each in (rows.pixels, other)), strict=True):
        a, b = (each.double().movedim(1, 3).numpy() for each in (x, y))
        a, b = (each / np.maximum(np.linalg.norm(each, axis=3, keepdims=True), 1e-12) for each in (a, b))
        expected += float(((a - b) ** 2).sum(axis=3).mean())
    few = rows.take(torch.arange(3))
    assert measured(metric, few, other[:3])["perceptual_distance"] == pytest.approx(expected, rel=1e-5)
    assert measured(metric, rows, rows.pixels)["perceptual_distance"] == 0.0
    noisy = (rows.pixels.int() + 4).clamp(max=255).to(torch.uint8)
    near, far = (measured(metric, rows, target)["perceptual_distance"] for target in (noisy, other))
    assert 0 < near < far
    with pytest.raises(ValueError, match="PerceptualDistance needs a target like each image, got NoneType"):
        metric.update(rows.pixels, rows.cond, None)


def test_scores_stand_beside_real_images_of_the_split_and_name_the_segmenter(
    trained: tuple[Segmenter, Path, dict[str, float]], rows: ImageSet, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    data, path = shapes(), str(trained[1])
    model = DCGAN(data.image_shape, data.cond_spec, encoder=MaskEncoder)
    judges = [SegmentedMask(path), PerceptualDistance(path)]
    make_trainer(callbacks=[EvaluateSamples(obedience=judges, n_samples=40)]).test(model, data, verbose=False)
    found = json.loads((tmp_path / "metrics.json").read_text())
    real = measured(SegmentedMask(path), rows, None)
    for name in ("pixel_accuracy", "mean_iou"):
        row = found["scores"][name]
        assert row["floor"]["mean"] == pytest.approx(real[name])
        assert row["low"] < row["value"] < row["high"] < real[name]
    assert "floor" not in found["scores"]["perceptual_distance"]
    saved = read_net(path, SegmentationUNet, "segmenter")
    assert found["protocol"]["segmenter"] == {"name": saved.card["name"], "sha256": saved.sha256}


def test_resamples_are_the_bootstrap_s_and_the_same_for_pairs() -> None:
    values = torch.randn(100, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = torch.cat([values, values + 3.0, torch.ones_like(values)], dim=1)
    sums = bootstrap_sums(rows)
    assert sums[:, 2].eq(100).all()
    assert float((sums[:, 0] / 100).std()) == pytest.approx(float(values.std(correction=0)) / 10, rel=0.05)
    assert torch.allclose((bootstrap_sums(rows[:, 1:2]) - sums[:, :1]) / 100, torch.tensor(3.0, dtype=torch.float64))
