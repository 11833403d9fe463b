"""`condgen evaluate`: any images score as condgen's own do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from conftest import small_cgan
from evaluate_inputs import DIGITS, EVALUATE, NAMES, fast, values, write_pngs

from condgen.callbacks import EvaluateSamples, TrainingTime
from condgen.checkpoints import DrawnImages
from condgen.cli import main
from condgen.data import Digits, Fit, FolderImages, ImageSet, MemoryImages, SplitImages, open_images
from condgen.data import folder_images as folder_images_module
from condgen.data.base import Split
from condgen.metrics import DigitsExtractor, Evaluator, FeatureCache, evaluate
from condgen.metrics.memorisation import training_images
from condgen.metrics.source_features import source_features
from condgen.pictures import save_png


@pytest.fixture(scope="module")
def scored(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command writes of that folder against the digits' test split."""
    out = tmp_path_factory.mktemp("out")
    assert main([*EVALUATE, str(folder), *DIGITS, "--out", str(out)]) == 0
    result: dict[str, Any] = json.loads((out / "metrics.json").read_text(), parse_constant=pytest.fail)
    return result


# ---------------------------------------------------------------------- the same images, the same scores


def test_a_folder_scores_as_the_same_images_inside_condgen(
    scored: dict[str, Any], samples: ImageSet, digits: Digits
) -> None:
    evaluator, test = Evaluator(DigitsExtractor(), 2000), digits.images("test")
    real, fake = (evaluator.extract(images.pixels, images.cond["label"]) for images in (test, samples))
    expected = evaluator.score(real, fake, intervals=True)
    assert values(scored) == {name: score.value for name, score in expected.scores.items()}
    assert {name: row["low"] for name, row in scored["scores"].items()} == {
        name: score.low for name, score in expected.scores.items()
    }
    assert scored["per_class"] == {"names": NAMES, **expected.per_class}
    assert scored["warnings"] == expected.warnings


def test_a_result_has_floors_and_its_protocol(scored: dict[str, Any], folder: Path, digits: Digits) -> None:
    assert {row["floor"]["draws"] for row in scored["scores"].values()} == {5}
    assert scored["scores"]["fd_digits"]["floor"]["mean"] > 0
    protocol = scored["protocol"]
    extractor = protocol.pop("extractor")
    assert (extractor["name"], extractor["sha256"]) == ("digits", DigitsExtractor().sha256)
    expected = {
        "data": "Digits", "split": "test", "data_fingerprint": digits.fingerprint("test"), "samples": str(folder),
        "n_real": 360, "n_samples": 200, "resize": None, "quantisation": "uint8", "model": None, "processes": 1,
    }  # fmt: skip
    assert expected == {key: protocol[key] for key in expected}


def test_arrays_of_every_layout_score_as_the_folder(
    samples: ImageSet, folder: Path, tmp_path: Path, digits: Digits
) -> None:
    grey, label = samples.pixels.numpy(), samples.cond["label"].numpy()
    layouts = {
        "nchw": grey, "nhwc": grey.transpose(0, 2, 3, 1), "nhw": grey[:, 0],
        "rgb": grey.repeat(3, axis=1).transpose(0, 2, 3, 1), "fortran": np.asfortranarray(grey[:, 0]),
    }  # fmt: skip
    test = SplitImages(digits, "test")
    expected = values(fast(test, open_images(folder)))
    for name, images in layouts.items():
        np.savez(tmp_path / f"{name}.npz", images=images, labels=label)
        array = open_images(tmp_path / f"{name}.npz")
        assert len(array) == 200
        assert torch.equal(torch.stack([array.read(place) for place in (0, 77)])[:, :1], samples.pixels[[0, 77]])
    np.savez_compressed(tmp_path / "packed.npz", arr_0=layouts["rgb"], arr_1=label)
    np.save(tmp_path / "bare.npy", layouts["nhwc"])
    for name in ("nhwc.npz", "packed.npz"):
        assert values(fast(test, open_images(tmp_path / name))) == expected
    bare = fast(test, open_images(tmp_path / "bare.npy"))
    without = {"label_accuracy", "intra_fd_digits", "diversity"}
    assert values(bare) == {name: value for name, value in expected.items() if name not in without}
    assert "per_class" not in bare


def test_a_run_scores_as_condgen_test_does(make_trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    data, run = Digits(), tmp_path / "run"
    model = small_cgan(data)
    trainer = make_trainer(max_steps=3, callbacks=[TrainingTime()])
    trainer.fit(model, data)
    trainer.save_checkpoint(run / "checkpoints" / "last.ckpt")
    callback = EvaluateSamples(DigitsExtractor(), n_samples=130, subset_size=2000, first_seed=7)
    make_trainer(callbacks=[callback]).test(model, data, verbose=False)
    assert callback.result is not None
    asked = ["--n", "130", "--seed", "7", "--train", "data/digits.yaml", "--out", str(tmp_path / "out")]
    assert main([*EVALUATE, str(run), *DIGITS, *asked]) == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "memorisation" in result["scores"]
    assert result["scores"] == callback.result["scores"]
    assert result["per_class"] == json.loads(json.dumps(callback.result["per_class"]))
    given = ("model", "ema", "sampler", "weights_sha256", "images_seen", "classes", "seeds", "n_real", "n_samples")
    assert {key: result["protocol"][key] for key in given} == {key: callback.result["protocol"][key] for key in given}
    assert result["cost"].keys() == callback.result["cost"].keys()
    assert result["cost"]["parameters"] == callback.result["cost"]["parameters"]
    assert result["cost"]["training_seconds"] == pytest.approx(3 * 64 / result["cost"]["images_per_second"])
    assert result["cost"]["sampling_ms_per_image"] > 0
    drawn = DrawnImages(run, 130, 7)
    assert torch.equal(drawn.read(0), drawn.images.pixels[0])
    trainer.callbacks = []  # type: ignore[attr-defined]
    trainer.save_checkpoint(run / "checkpoints" / "last.ckpt")
    assert DrawnImages(run, 130, 7).cost["training_seconds"] is None


def test_given_back_training_images_are_found_by_any_source(samples: ImageSet, folder: Path, digits: Digits) -> None:
    test = SplitImages(digits, "test")
    shown = MemoryImages(digits.images("train").pixels[500:700])
    known, unknown = (
        fast(test, MemoryImages(side.pixels[::2]), train=open_images(folder)) for side in (samples, shown.images)
    )
    assert known["scores"]["memorisation"]["value"] == 1.0
    assert unknown["scores"]["memorisation"]["high"] < 0.9
    assert "memorisation" not in fast(test, shown)["scores"]
    expected = {"data": str(folder), "split": None, "fingerprint": open_images(folder).fingerprint, "n": 200}
    assert known["protocol"]["train"] == expected
    assert "cost" not in known


def test_the_largest_training_sets_are_compared_in_part() -> None:
    places = training_images(60_000)
    assert len(places) == len(places.unique()) == 50_000
    assert torch.equal(training_images(1077), torch.arange(1077))


def test_files_of_condgen_sample_know_their_labels(samples: ImageSet, tmp_path: Path) -> None:
    for place in (0, 1, 20, 21):
        label = int(samples.cond["label"][place])
        save_png(samples.pixels[place], tmp_path / f"label={label}-seed={place}.png")
    images = FolderImages(tmp_path)
    assert images.class_names == ["0", "1"]
    assert images.label is not None
    assert images.label.tolist() == [0, 0, 1, 1]


# ---------------------------------------------------------------------- real images are read once


class CountedDigits(Digits):
    """Digits that are known by a name, as files are by their bytes, and count how often they are read."""

    reads = 0

    def hash_split(self, split: Split) -> str:
        return f"counted {split}"

    def load(self, split: Split) -> ImageSet:
        CountedDigits.reads += 1
        return super().load(split)


def test_a_second_evaluation_decodes_no_real_image(
    folder: Path, samples: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDGEN_CACHE", str(folder.parent / "fresh"))
    fake = MemoryImages(samples.pixels[::2], samples.cond["label"][::2], NAMES)
    first, second = open_images(folder), open_images(folder)
    before = fast(first, fake)
    decodes: list[Path] = []
    monkeypatch.setattr(folder_images_module, "decode", lambda path, **_: decodes.append(path))
    assert fast(second, fake)["scores"] == before["scores"]
    assert (first.decoded, second.decoded, decodes) == (200, 0, [])

    before = evaluate(SplitImages(CountedDigits(), "test"), fake, DigitsExtractor())
    assert CountedDigits.reads == 2  # the test split, and training images for the floors
    after = evaluate(SplitImages(CountedDigits(), "test"), fake, DigitsExtractor())
    assert CountedDigits.reads == 2
    assert after["scores"] == before["scores"]


def test_a_folder_that_changed_is_another_one(samples: ImageSet, tmp_path: Path) -> None:
    images = write_pngs(samples.take(torch.arange(4)), tmp_path)
    before = FolderImages(images).fingerprint
    assert FolderImages(images).fingerprint == before
    save_png(255 - samples.pixels[0], images / "0" / "0000.png")
    changed = FolderImages(images).fingerprint
    (images / "0" / "0000.png").rename(images / "0" / "0009.png")
    assert len({before, changed, FolderImages(images).fingerprint}) == 3


def test_features_depend_on_how_images_were_made_to_fit(samples: ImageSet, tmp_path: Path) -> None:
    small = MemoryImages(samples.pixels[:6, :, :6, :6])
    evaluator, cache = Evaluator(DigitsExtractor()), FeatureCache(tmp_path)
    made = [source_features(small, evaluator, fit, (1, 8, 8), cache) for fit in (Fit(pad=8), Fit(resize=8))]
    assert not torch.equal(made[0].features, made[1].features)


# ---------------------------------------------------------------------- what cannot be scored is left out


def test_a_class_that_one_side_lacks_is_named(samples: ImageSet, digits: Digits, tmp_path: Path) -> None:
    images = write_pngs(samples.take(torch.arange(180)), tmp_path)
    result = fast(SplitImages(digits, "test"), open_images(images))
    line = f"{images} has fewer than 2 images of 1 of 10 classes (9): scores by class are left out"
    assert result["warnings"] == [line]
    assert "intra_fd_digits" not in result["scores"]
    assert "label_accuracy" in result["scores"]
    assert result["per_class"]["label_accuracy"][9] is None


def test_few_samples_still_have_floors(samples: ImageSet, digits: Digits) -> None:
    fake = MemoryImages(samples.pixels[:15])
    result = evaluate(SplitImages(digits, "test"), fake, DigitsExtractor())
    assert result["scores"]["fd_digits"]["floor"]["draws"] == 5
    assert any("15 samples for 128 features" in line for line in result["warnings"])


def test_classes_of_another_number_have_no_label_accuracy(samples: ImageSet) -> None:
    images = MemoryImages(samples.pixels, samples.cond["label"] // 5, ["low", "high"])
    result = fast(images, images)
    assert "label_accuracy" not in result["scores"]
    assert result["warnings"][0] == "label_accuracy is left out: the extractor knows 10 classes, and the images 2"
