"""Shipped classifiers, and the callback that scores samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import REPO, mnist_root, small_cgan

from condgen.callbacks import EvaluateSamples
from condgen.callbacks.judges import FeatureJudge
from condgen.data import MNIST, Digits, ImageDataModule, ImageSet
from condgen.data.base import Split
from condgen.data.fingerprint import hash_images
from condgen.metrics import ClassifierExtractor, DigitsExtractor, Evaluator, MNISTExtractor
from condgen.metrics.extractors import WEIGHTS
from condgen.metrics.feature_cache import CacheWarning

SCORES = [
    "label_accuracy", "fd_digits", "intra_fd_digits", "kid_digits", "is_digits",
    "precision", "recall", "density", "coverage", "diversity"
]  # fmt: skip


def accuracy(extractor: ClassifierExtractor, data: ImageDataModule) -> float:
    test = data.images("test")
    logits = torch.cat([extractor.logits(extractor(part)) for part in test.pixels.split(500)])
    return float((logits.argmax(dim=1) == test.cond["label"]).float().mean())


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_shipped_classifiers_are_small_and_say_what_they_are(name: str) -> None:
    path = WEIGHTS / f"{name}.safetensors"
    extractor = ClassifierExtractor(str(path))
    record = json.loads((REPO / "experiments" / "extractors" / f"{name}.json").read_text())
    assert path.stat().st_size < 1_000_000
    assert extractor.name == name
    assert extractor.net.feature_dim == 128
    assert extractor.card["test_accuracy"] == record["rows"][0]["test_accuracy"]
    assert record["test_accuracy_mean"] >= (0.98 if name == "digits" else 0.99)
    assert len(extractor.sha256) == 64


def test_the_digits_classifier_is_as_good_as_its_card(digits: Digits) -> None:
    extractor = DigitsExtractor()
    assert accuracy(extractor, digits) == pytest.approx(extractor.card["test_accuracy"], abs=1e-6)
    assert accuracy(extractor, digits) >= 0.98


def test_the_mnist_classifier_is_as_good_as_its_card() -> None:
    extractor = MNISTExtractor()
    measured = accuracy(extractor, MNIST(root=str(mnist_root()), download=False))
    assert measured == pytest.approx(extractor.card["test_accuracy"], abs=2e-4)
    assert measured >= 0.99


def test_extractors_take_uint8_images_of_their_size_only() -> None:
    extractor = DigitsExtractor().train()
    pixels = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    assert extractor(pixels).shape == (5, 128)
    assert not extractor.training
    assert torch.allclose(extractor(pixels)[2:3], extractor(pixels[2:3]), atol=1e-5)
    with pytest.raises(TypeError, match="uint8"):
        extractor(pixels / 255)
    with pytest.raises(ValueError, match=r"\(N, 1, 8, 8\)"):
        extractor(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))


def test_files_that_hold_no_classifier_are_refused(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"\x00" * 100)
    for name in ("garbage", "missing"):
        with pytest.raises(ValueError, match=name):
            ClassifierExtractor(str(tmp_path / name))


def test_real_images_score_as_real_and_noise_does_not(digits: Digits) -> None:
    evaluator = Evaluator(DigitsExtractor())
    train, test = digits.images("train"), digits.images("test")
    real = evaluator.extract(test.pixels, test.cond["label"])
    perfect = evaluator.score(real, evaluator.extract(train.pixels, train.cond["label"])).scores
    noise = torch.randint(0, 256, (400, 1, 8, 8), dtype=torch.uint8)
    poor = evaluator.score(real, evaluator.extract(noise, torch.arange(400) % 10)).scores
    assert list(perfect) == SCORES
    assert perfect["label_accuracy"].value > 0.99
    assert perfect["coverage"].value > 0.9
    assert poor["label_accuracy"].value < 0.3
    assert poor["coverage"].value < 0.1
    assert poor["fd_digits"].value > 10 * perfect["fd_digits"].value
    one_per_class = torch.stack([train.pixels[train.cond["label"] == k][0] for k in range(10)])
    collapsed = evaluator.score(
        real, evaluator.extract(one_per_class.repeat(40, 1, 1, 1), torch.arange(10).repeat(40))
    ).scores
    assert collapsed["label_accuracy"].value == 1.0
    assert collapsed["recall"].value < 0.1
    assert collapsed["fd_digits"].value > 5 * perfect["fd_digits"].value


def test_the_callback_writes_scores_with_their_protocol(
    make_trainer: Callable[..., L.Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Digits(eval_batch_size=100)
    model = small_cgan(data)
    callback = EvaluateSamples(DigitsExtractor(), n_samples=2000, first_seed=5)
    trainer = make_trainer(callbacks=[callback], limit_val_batches=1.0)
    trainer.test(model, data, verbose=False)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert list(written["scores"]) == [*SCORES, "memorisation"]
    for name, row in written["scores"].items():
        assert row["low"] <= row["value"] <= row["high"]
        if name != "memorisation":
            assert row["floor"]["draws"] == 1  # there are fewer training images than samples
        assert float(trainer.callback_metrics[f"test/{name}"]) == pytest.approx(row["value"], rel=1e-5)
    protocol = written["protocol"]
    assert protocol["n_real"] == 360
    assert protocol["n_samples"] == 2000
    assert protocol["seeds"] == [5, 2004]
    assert protocol["split"] == "test"
    assert protocol["ema"] is True
    assert protocol["extractor"]["sha256"] == DigitsExtractor().sha256
    assert protocol["prdc_k"] == 5
    assert len(protocol["weights_sha256"]) == 64
    table = capsys.readouterr().out
    assert all(name in table for name in (*SCORES, "good is", "lower", "real images"))

    again = EvaluateSamples(DigitsExtractor(), n_samples=2000, first_seed=5)
    make_trainer(callbacks=[again]).test(model, data, verbose=False)
    assert again.result["scores"] == written["scores"]
    trainer.validate(model, data, verbose=False)
    assert callback.result["protocol"]["split"] == "validation"


def test_scores_during_fit_use_the_same_path(make_trainer: Callable[..., L.Trainer]) -> None:
    data = Digits()
    callback = EvaluateSamples(DigitsExtractor(), n_samples=50)
    trainer = make_trainer(callbacks=[callback], max_steps=4, limit_val_batches=1.0, val_check_interval=2)
    trainer.fit(small_cgan(data), data)
    assert {f"val/{name}" for name in SCORES} <= set(trainer.callback_metrics)
    (judge,) = callback._judges
    assert isinstance(judge, FeatureJudge)
    assert len(judge.real.features("validation").features) == 360


def test_senseless_numbers_of_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="n_samples must be at least 2, got 1"):
        EvaluateSamples(None, n_samples=1)


def test_raw_weights_training_images_and_cas_by_choice(digits: Digits, make_trainer: Callable[..., L.Trainer]) -> None:
    model = small_cgan(digits)
    make_trainer(max_steps=5).fit(model, digits)

    def scores(n_samples: int = 100, **settings: bool) -> tuple[EvaluateSamples, dict[str, dict[str, float]]]:
        callback = EvaluateSamples(DigitsExtractor(), n_samples=n_samples, subset_size=60, **settings)
        make_trainer(callbacks=[callback]).test(model, digits, verbose=False)
        assert callback.result is not None
        return callback, callback.result["scores"]

    averaged, with_average = scores()
    raw, with_raw = scores(raw=True, floor=False)
    assert averaged.result["protocol"]["ema"] is True  # type: ignore[index]
    assert raw.result["protocol"]["ema"] is False  # type: ignore[index]
    assert with_average["fd_digits"]["value"] != with_raw["fd_digits"]["value"]
    assert with_average["fd_digits"]["floor"]["sd"] > 0
    assert with_average["fd_digits"]["floor"]["draws"] == 5
    assert "floor" not in with_raw["fd_digits"]
    assert "cas" not in with_raw
    trained_on = scores(600, cas=True)[1]["cas"]
    assert trained_on["low"] < trained_on["value"] < trained_on["high"] < trained_on["low"] + 0.11  # of 360 images
    assert trained_on["value"] < 0.5 < 0.6 < trained_on["floor"]["mean"]
    callback = EvaluateSamples(DigitsExtractor(), n_samples=100, subset_size=60, raw=True)
    make_trainer(max_steps=6, callbacks=[callback]).fit(model, digits)
    assert model.raw is False


class CountedDigits(Digits):
    reads = 0

    def load(self, split: Split) -> ImageSet:
        self.reads += 1
        return super().load(split)

    def hash_split(self, split: Split) -> str:
        return hash_images(Digits().images(split))


def test_a_second_evaluation_reads_no_real_image(
    make_trainer: Callable[..., L.Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path / "cache"))

    def evaluate() -> tuple[int, dict[str, Any]]:
        torch.manual_seed(0)
        data, callback = CountedDigits(), EvaluateSamples(DigitsExtractor(), n_samples=100)
        make_trainer(callbacks=[callback]).test(small_cgan(data), data, verbose=False)
        assert callback.result is not None
        return data.reads, callback.result

    (first, made), (second, kept) = evaluate(), evaluate()
    assert (first, second) == (2, 0)
    assert kept["scores"] == made["scores"]
    for file in (tmp_path / "cache" / "features").iterdir():
        file.write_bytes(file.read_bytes()[:-20])
    with pytest.warns(CacheWarning, match="damaged"):
        third, again = evaluate()
    assert third == 2
    assert again["scores"] == made["scores"]


def test_samples_are_scored_against_a_data_module(make_trainer: Callable[..., L.Trainer], digits: Digits) -> None:
    trainer = make_trainer(callbacks=[EvaluateSamples(DigitsExtractor(), n_samples=10)])
    with pytest.raises(ValueError, match="one of condgen's data modules, got NoneType"):
        trainer.test(small_cgan(digits), digits.test_dataloader(), verbose=False)
