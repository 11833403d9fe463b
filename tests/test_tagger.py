"""Taggers: what they are trained by, the files they leave, and captions told from samples by them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from math import log
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import same_weights
from torch.nn import functional as F

from condgen.callbacks import EvaluateSamples, ExportRecogniser
from condgen.conditions import TextEncoder
from condgen.conditions.tokenisers import WordBag
from condgen.data import ImageSet, Shapes
from condgen.metrics import CaptionMatch
from condgen.metrics.saved_net import read_net, save_net
from condgen.models import DCGAN, Tagger
from condgen.nets import ConvClassifier
from condgen.pixels import to_model_range
from condgen.words import split_words

MakeTrainer = Callable[..., L.Trainer]
Trained = tuple[Tagger, Path, dict[str, float]]


def shapes(**kwargs: Any) -> Shapes:
    settings: dict[str, Any] = {"image_size": 16, "conditions": ["text"], "batch_size": 16, "eval_batch_size": 24}
    return Shapes(512, 100, 100, **settings | kwargs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A tagger of drawn shapes after a few seconds, the file that `fit` left, and its scores while it was tested."""
    folder, data = tmp_path_factory.mktemp("tagger"), shapes()
    net = partial(ConvClassifier, widths=(8, 16), feature_dim=32, dropout=0.0)
    model = Tagger(data.image_shape, data.cond_spec, net=net, lr=1e-2)
    settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    settings |= {"enable_model_summary": False, "default_root_dir": folder, "accelerator": "cpu", "devices": 1}
    L.Trainer(max_steps=320, limit_val_batches=0, callbacks=[ExportRecogniser()], **settings).fit(model, data)
    trainer = L.Trainer(**settings)
    trainer.test(model, data, verbose=False)
    scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return model, folder / "tagger.safetensors", scores


@pytest.fixture
def rows() -> ImageSet:
    return shapes().images("test").all()


def captions(rows: ImageSet) -> list[set[str]]:
    return [set(split_words(bytes(row.tolist()).rstrip(b"\0").decode())) for row in rows.cond["text"]]


def measured(metric: CaptionMatch, rows: ImageSet) -> dict[str, float]:
    metric.reset()
    metric.update(rows.pixels, rows.cond, None)
    return {name: float(value) for name, value in metric.compute().items()}


def test_bags_hold_the_words_of_captions(rows: ImageSet) -> None:
    words = ["red", "circle", "dog", "a"]
    held = WordBag(words)(rows.cond["text"])
    assert held.tolist() == [[float(word in caption) for word in words] for caption in captions(rows)]
    assert 0 < float(held[:, 0].mean()) < 1
    assert not held[:, 2].any()


def test_fit_leaves_a_tagger_and_its_score_is_that_of_the_formula(trained: Trained, rows: ImageSet) -> None:
    model, path, scores = trained
    saved = read_net(str(path), ConvClassifier, "tagger")
    assert same_weights(saved.net, model.net)
    assert saved.card["classes"] == shapes().cond_spec["text"]["words"]
    train = captions(shapes().images("train").all())
    assert int(model.captions) == 320 * 16
    shares = torch.tensor([sum(word in caption for caption in train) / len(train) for word in saved.card["classes"]])
    torch.testing.assert_close(torch.tensor(saved.card["shares"]), shares, atol=5e-3, rtol=0.0)

    held = torch.tensor([[float(word in caption) for word in saved.card["classes"]] for caption in captions(rows)])
    with torch.no_grad():
        told = saved.net(to_model_range(rows.pixels)).sigmoid()
    usual = torch.tensor(saved.card["shares"]).expand_as(held)
    nats = [float(F.binary_cross_entropy(p, held, reduction="sum")) / len(rows) for p in (usual, told)]
    expected = (nats[0] - nats[1]) / log(2)
    assert expected > 1.0
    assert scores["test/caption_bits"] == pytest.approx(expected, rel=1e-3)
    assert saved.card["test_caption_bits"] == pytest.approx(expected, rel=1e-3)


def test_captions_are_told_from_real_images_and_by_chance_from_others(trained: Trained, rows: ImageSet) -> None:
    metric = CaptionMatch(str(trained[1]))
    mine = measured(metric, rows)
    assert mine["caption_top1"] > 0.2
    assert mine["caption_above"] > 0.7
    for name, (low, high) in metric.intervals().items():
        assert 0.0 <= low <= mine[name] <= high <= 1.0
    for other in (rows.pixels.roll(50, 0), torch.full_like(rows.pixels, 90)):
        by_chance = measured(metric, ImageSet(other, rows.cond))
        assert by_chance["caption_top1"] == pytest.approx(1 / 16, abs=0.07)
        assert by_chance["caption_above"] == pytest.approx(0.5, abs=0.1)


def test_fits_are_those_of_the_formula(trained: Trained, rows: ImageSet) -> None:
    metric, few = CaptionMatch(str(trained[1]), candidates=3), rows.take(torch.arange(12))
    saved = read_net(str(trained[1]), ConvClassifier, "tagger")
    with torch.no_grad():
        logits = saved.net(to_model_range(few.pixels)).double()
    texts, words, shares = captions(few), saved.card["classes"], torch.tensor(saved.card["shares"]).double().logit()

    def fit(image: int, text: int) -> float:
        return sum(float(logits[image, k] - shares[k]) for k, word in enumerate(words) if word in texts[text % 12])

    best, below = 0.0, 0.0
    for i in range(12):
        own, others = fit(i, i), [fit(i, i + 1), fit(i, i + 2)]
        same = [texts[i] == texts[(i + step) % 12] for step in (1, 2)]
        less = [0.5 if tie else float(other < own) for other, tie in zip(others, same, strict=True)]
        best += 0.0 if 0.0 in less else 1 / (1 + less.count(0.5))
        below += sum(less) / 2
    assert measured(metric, few) == pytest.approx({"caption_top1": best / 12, "caption_above": below / 12})


def test_scores_stand_beside_real_images_and_name_the_tagger(
    trained: Trained, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    data, path = shapes(), str(trained[1])
    model = DCGAN(data.image_shape, data.cond_spec, encoder=TextEncoder)
    judge = EvaluateSamples(obedience=[CaptionMatch(path)], n_samples=40)
    make_trainer(callbacks=[judge]).test(model, data, verbose=False)
    found = json.loads((tmp_path / "metrics.json").read_text())
    row = found["scores"]["caption_above"]
    assert row["low"] < row["value"] < row["high"] < row["floor"]["mean"]
    assert found["protocol"]["tagger"]["sha256"] == read_net(path, ConvClassifier, "tagger").sha256
    assert found["protocol"]["caption_candidates"] == 16


def test_what_makes_no_sense_is_named(trained: Trained, rows: ImageSet, tmp_path: Path) -> None:
    data = shapes(conditions=["label"])
    with pytest.raises(ValueError, match="a tagger needs the condition 'text', which the data does not offer"):
        Tagger(data.image_shape, data.cond_spec)
    with pytest.raises(ValueError, match="a tagger needs the words of the data's captions, which it does not list"):
        Tagger(data.image_shape, {"text": {"max_length": 64}})
    with pytest.raises(ValueError, match="candidates must be at least 2, got 1"):
        CaptionMatch(str(trained[1]), candidates=1)
    with pytest.raises(ValueError, match="captions are told among 16, got 15 samples"):
        measured(CaptionMatch(str(trained[1])), rows.take(torch.arange(15)))
    save_net(ConvClassifier((3, 16, 16), 5, widths=(4, 4)), tmp_path / "x.safetensors", {"name": "x"})
    with pytest.raises(ValueError, match=r"x.safetensors is a classifier, not a tagger saved by condgen"):
        CaptionMatch(str(tmp_path / "x.safetensors"))
