"""`condgen evaluate`: any images score as condgen's own do, and what cannot be scored is named in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from conftest import small_cgan
from PIL import Image
from torch import Tensor

from condgen.callbacks import EvaluateSamples
from condgen.checkpoints import DrawnImages
from condgen.cli import main
from condgen.data import (
    DamagedImagesError,
    Digits,
    Fit,
    FitError,
    FolderImages,
    ImageSet,
    MemoryImages,
    SplitImages,
    open_images,
)
from condgen.data import folder_images as folder_images_module
from condgen.data.base import Split
from condgen.metrics import DigitsExtractor, Evaluator, FeatureCache, evaluate
from condgen.metrics.source_features import due_shape, source_features
from condgen.pictures import save_png

NAMES = [str(digit) for digit in range(10)]
EVALUATE = ["evaluate", "data/digits.yaml"]
DIGITS = ["--extractor", "digits"]


@pytest.fixture(scope="module")
def samples() -> ImageSet:
    """200 training images, 20 of each class, in the order of their classes."""
    train = Digits().images("train")
    label = train.cond["label"]
    return train.take(torch.cat([(label == digit).nonzero()[:20, 0] for digit in range(10)]))


@pytest.fixture(scope="module")
def folder(samples: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as PNG files in class subfolders."""
    return write_pngs(samples, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def scored(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the real command writes of that folder against the digits' test split."""
    out = tmp_path_factory.mktemp("out")
    done = command(*EVALUATE, str(folder), *DIGITS, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "200 images of" in done.stdout
    result: dict[str, Any] = json.loads((out / "metrics.json").read_text(), parse_constant=pytest.fail)
    return result


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail with one line and a code; return the line."""

    def run(*args: object, code: int = 2) -> str:
        assert main([str(arg) for arg in args]) == code
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    return run


def write_pngs(images: ImageSet, folder: Path, classes: bool = True) -> Path:
    for place, (image, label) in enumerate(zip(images.pixels, images.cond["label"].tolist(), strict=True)):
        save_png(image, folder / (NAMES[label] if classes else "") / f"{place:04}.png")
    return folder


def command(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "condgen", *args], capture_output=True, text=True, timeout=120, check=False
    )


def values(result: dict[str, Any]) -> dict[str, float]:
    return {name: row["value"] for name, row in result["scores"].items()}


def fast(real: Any, fake: Any, **settings: Any) -> dict[str, Any]:
    return evaluate(real, fake, DigitsExtractor(), floor=False, **settings)


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
    trainer = make_trainer(max_steps=3)
    trainer.fit(model, data)
    trainer.save_checkpoint(run / "checkpoints" / "last.ckpt")
    callback = EvaluateSamples(DigitsExtractor(), n_samples=130, subset_size=2000, first_seed=7)
    make_trainer(callbacks=[callback]).test(model, data, verbose=False)
    assert callback.result is not None
    asked = ["--n", "130", "--seed", "7", "--out", str(tmp_path / "out")]
    assert main([*EVALUATE, str(run), *DIGITS, *asked]) == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert result["scores"] == callback.result["scores"]
    assert result["per_class"] == json.loads(json.dumps(callback.result["per_class"]))
    given = ("model", "ema", "sampler", "weights_sha256", "images_seen", "classes", "seeds", "n_real", "n_samples")
    assert {key: result["protocol"][key] for key in given} == {key: callback.result["protocol"][key] for key in given}
    drawn = DrawnImages(run, 130, 7)
    assert torch.equal(drawn.read(0), drawn.images.pixels[0])


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


# ---------------------------------------------------------------------- sizes and colours


def test_nothing_is_resized_unless_asked(samples: ImageSet) -> None:
    image = samples.pixels[0]
    small = image[:, 1:7, 1:7]
    assert Fit(resize=8)(image, (1, 8, 8)) is image
    padded = Fit(pad=8)(small, (1, 8, 8))
    assert torch.equal(padded[:, 1:7, 1:7], small)
    assert padded.sum() == small.sum()
    picture = Image.fromarray(small[0].numpy()).resize((8, 8), Image.Resampling.BICUBIC)
    assert torch.equal(Fit(resize=8)(small, (1, 8, 8))[0], torch.from_numpy(np.array(picture)))
    with pytest.raises(FitError, match="6x6, where 8x8 is due; --pad 8 puts zeros around, --resize 8 resamples"):
        Fit()(small, (1, 8, 8))
    with pytest.raises(FitError, match="larger than --pad 4"):
        Fit(pad=4)(small, (1, 4, 4))


def test_colours_become_grey_only_if_asked(samples: ImageSet) -> None:
    image = samples.pixels[0]
    assert torch.equal(Fit()(image.expand(3, -1, -1), (1, 8, 8)), image)
    assert torch.equal(Fit()(image, (3, 8, 8)), image.expand(3, -1, -1))
    red = torch.zeros(3, 8, 8, dtype=torch.uint8)
    red[0] = 255
    with pytest.raises(FitError, match="in colour, where grey is due; --grey"):
        Fit()(red, (1, 8, 8))
    assert Fit(grey=True)(red, (1, 8, 8)).unique().tolist() == [76]  # 0.299 * 255


def test_an_extractor_of_any_size_needs_one_size(samples: ImageSet) -> None:
    whole, part = MemoryImages(samples.pixels), MemoryImages(samples.pixels[:, :, :6, :6])
    assert due_shape(whole, whole, None, Fit()) == (3, 8, 8)
    assert due_shape(whole, part, None, Fit(resize=7)) == (3, 7, 7)
    with pytest.raises(ValueError, match="8x8 and images in memory 6x6, where one size is due"):
        due_shape(whole, part, None, Fit())
    with pytest.raises(ValueError, match="must become 8x8 for this extractor, not 7x7"):
        due_shape(whole, whole, (1, 8, 8), Fit(resize=7))


def test_resizing_stands_in_the_protocol(samples: ImageSet, digits: Digits) -> None:
    small = MemoryImages(samples.pixels[:, :, 1:7, 1:7], samples.cond["label"])
    result = fast(SplitImages(digits, "test"), small, fit=Fit(resize=8))
    assert result["protocol"]["resize"] == "other sizes resampled to 8x8 (Pillow, bicubic, antialiased)"


# ---------------------------------------------------------------------- bad input


def damage(folder: Path, samples: ImageSet, count: int) -> Path:
    """Write 50 images, and cut the first few."""
    images = write_pngs(samples.take(torch.arange(0, 200, 4)), folder)
    for path in FolderImages(images).paths[:count]:
        path.write_bytes(path.read_bytes()[:60])
    return images


def test_damaged_files_are_named_and_refused(samples: ImageSet, tmp_path: Path) -> None:
    images = damage(tmp_path, samples, 12)
    done = command(*EVALUATE, str(images), *DIGITS)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert line.startswith(f"condgen: 12 of 50 images of {images} are damaged: {images}/0/0000.png: damaged")
    assert line.count(".png") == 10
    assert line.endswith("; and 2 more; --on-error skip leaves them out")


def test_damaged_files_are_skipped_if_told_and_named_each_time(
    samples: ImageSet, tmp_path: Path, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    images = damage(tmp_path / "images", samples, 2)
    np.savez(tmp_path / "x.npz", images=samples.pixels[:40].numpy())
    skip = [*DIGITS, "--on-error", "skip", "--out", str(tmp_path / "out")]
    for _ in range(2):
        assert main(["evaluate", str(images), str(tmp_path / "x.npz"), *skip]) == 0
        assert f"warning: left out: 2 of 50 images of {images} are damaged: " in capsys.readouterr().out
        result = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert result["protocol"]["n_real"] == 48
        assert result["warnings"][0].startswith(f"left out: 2 of 50 images of {images} are damaged: ")
        assert result["protocol"]["data"] == str(images)
    for path in FolderImages(images).paths:
        path.write_bytes(b"x")
    with pytest.raises(DamagedImagesError, match="50 of 50 images of"):
        fast(SplitImages(digits, "test"), open_images(images, skip_damaged=True))


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


def floats(samples: ImageSet) -> Tensor:
    return samples.pixels.float() / 127.5 - 1


ARRAYS: dict[str, tuple[Callable[[ImageSet], dict[str, Any]], str]] = {
    "-1 to 1": (lambda s: {"images": floats(s)}, "are float32 in [-1, 1], where uint8 in [0, 255] is due; save ((x +"),
    "0 to 1": (lambda s: {"images": s.pixels / 255}, "are float32 in [0, 1], where uint8 in [0, 255] is due; save (x"),
    "nan": (lambda s: {"images": floats(s).log()}, "are float32 with NaN, where uint8"),
    "layout": (lambda s: {"images": s.pixels.expand(-1, 3, -1, -1)[..., :3]}, "(200, 3, 8, 3) could be both"),
    "channels": (lambda s: {"images": s.pixels.expand(-1, 4, -1, -1)}, "has neither 1 nor 3 channels"),
    "none": (lambda s: {"images": s.pixels[:0]}, "got (0, 1, 8, 8)"),
    "names": (lambda s: {"a": s.pixels, "b": s.pixels}, "must hold one array named images or arr_0 or x or samples"),
    "objects": (lambda s: {"images": np.array([{}])}, "is not a whole .npz file of plain arrays: "),
    "labels": (lambda s: {"images": s.pixels, "labels": s.cond["label"][1:]}, "must be 200 integers >= 0, got (199,)"),
    "size": (lambda s: {"images": s.pixels[:, :, 1:]}, "is 7x8, where 8x8 is due; --pad 8 puts zeros"),
    "class": (lambda s: {"images": s.pixels, "labels": s.cond["label"] + 1}, "has class 10, and Digits test only 10"),
    "few": (lambda s: {"images": s.pixels[:5]}, "PRDC needs more than k=5 images on each side, got 5"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARRAYS)
def test_bad_arrays_are_refused(case: str, samples: ImageSet, tmp_path: Path, fails: Callable[..., str]) -> None:
    make, line = ARRAYS[case]
    np.savez(tmp_path / "x.npz", **{name: np.asarray(value) for name, value in make(samples).items()})
    assert line in fails(*EVALUATE, tmp_path / "x.npz", *DIGITS)


def test_bad_paths_are_refused(samples: ImageSet, folder: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert fails(*EVALUATE, empty, *DIGITS) == f"condgen: {empty} is empty"
    (empty / "notes.txt").write_text("x")
    assert "holds no images, but notes.txt; images end in .bmp, " in fails(*EVALUATE, empty, *DIGITS)
    assert fails(*EVALUATE, "nowhere", *DIGITS) == "condgen: no file or folder nowhere"
    line = f"{empty}/notes.txt ends in .txt; images come as a folder, .npz or .npy"
    assert line in fails(*EVALUATE, empty / "notes.txt", *DIGITS)
    assert "is one image; give its folder" in fails(*EVALUATE, folder / "0" / "0000.png", *DIGITS)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    assert "cut.npz is not a whole .npz file of plain arrays: " in fails(*EVALUATE, tmp_path / "cut.npz", *DIGITS)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert "run has no checkpoints/last.ckpt" in fails(*EVALUATE, tmp_path / "run", *DIGITS)
    mixed = write_pngs(samples.take(torch.arange(3)), tmp_path / "mixed")
    save_png(samples.pixels[0], mixed / "x.png")
    assert "has images in class subfolders and 1 beside them, such as x.png" in fails(*EVALUATE, mixed, *DIGITS)
    (mixed / "x.png").unlink()
    (mixed / "0").rename(mixed / "cat")
    assert "has class 'cat', and the other side 0, 1, 2" in fails(*EVALUATE, mixed, *DIGITS)
    save_png(torch.arange(192).view(3, 8, 8).to(torch.uint8), tmp_path / "colour" / "x.png")
    assert "x.png is in colour, where grey is due; --grey" in fails(*EVALUATE, tmp_path / "colour", *DIGITS)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (
            ["--extractor", "digit"],
            "no extractor 'digit', did you mean 'digits'?; give digits, mnist or a .safetensors",
        ),
        (["--extractor", "x.safetensors"], "x.safetensors is not a classifier saved by condgen"),
        ([], "the following arguments are required: --extractor"),
        ([*DIGITS, "--sizes", "8"], "no option --sizes, did you mean '--resize'?"),
        ([*DIGITS, "--on-error", "ignore"], "invalid choice: 'ignore'"),
        ([*DIGITS, "--resize", "8", "--pad", "8"], "choose one of --resize 8 and --pad 8"),
        ([*DIGITS, "--pad", "0"], "--pad must be at least 1, got 0"),
        ([*DIGITS, "--n", "9"], "--n is for samples of a run, and there is no run"),
        ([*DIGITS, "--data.rot", "x"], "rot"),
        ([*DIGITS, "--device", "gpu"], "--device gpu cannot be used"),
    ],
)
def test_bad_options_are_refused(args: list[str], line: str, folder: Path, fails: Callable[..., str]) -> None:
    assert line in fails(*EVALUATE, folder, *args)


def test_options_of_data_need_a_data_config(folder: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    assert "--data.root is for data configs" in fails("evaluate", "--data.root", "x", folder, folder, *DIGITS)
    (tmp_path / "x.yaml").write_text("model: {}")
    assert "has no data; give one such as" in fails("evaluate", tmp_path / "x.yaml", folder, *DIGITS)
    line = fails("evaluate", "data/mnist.yaml", folder, "--extractor", "mnist", "--data.root", tmp_path,
                 "--data.download=false", "--pad", "32", code=1)  # fmt: skip
    assert f"no MNIST in {tmp_path}" in line
    assert "no config file data/digit.yaml, did you mean" in fails("evaluate", "data/digit.yaml", folder, *DIGITS)
