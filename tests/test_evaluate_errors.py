"""`condgen evaluate`: what cannot be scored is named in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluate_inputs import DIGITS, EVALUATE, Fails, fast, write_pngs
from torch import Tensor

from condgen.cli import main
from condgen.data import DamagedImagesError, Digits, FolderImages, ImageSet, SplitImages, open_images
from condgen.pictures import save_png


def damage(folder: Path, samples: ImageSet, count: int) -> Path:
    """Write 50 images, and cut the first few."""
    images = write_pngs(samples.take(torch.arange(0, 200, 4)), folder)
    for path in FolderImages(images).paths[:count]:
        path.write_bytes(path.read_bytes()[:60])
    return images


def test_damaged_files_are_named_and_refused(samples: ImageSet, tmp_path: Path, fails: Fails) -> None:
    images = damage(tmp_path, samples, 12)
    line = fails(*EVALUATE, images, *DIGITS, code=1)
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
def test_bad_arrays_are_refused(case: str, samples: ImageSet, tmp_path: Path, fails: Fails) -> None:
    make, line = ARRAYS[case]
    np.savez(tmp_path / "x.npz", **{name: np.asarray(value) for name, value in make(samples).items()})
    assert line in fails(*EVALUATE, tmp_path / "x.npz", *DIGITS)


def test_bad_paths_are_refused(samples: ImageSet, folder: Path, tmp_path: Path, fails: Fails) -> None:
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
            "no extractor 'digit', did you mean 'digits'?; give digits, mnist, inception, a file of weights or a .yaml",
        ),
        (["--extractor", "x.safetensors"], "x.safetensors is not a classifier saved by condgen"),
        ([], "evaluate needs --extractor, --obedience, or both"),
        (["--obedience", "[ShapesMask]", "--pad", "9"], "--pad is for scores of features, and there is no --extractor"),
        (["--obedience", "[ShapesMusk]"], "obedience: no class 'ShapesMusk', did you mean 'ShapesMask'?"),
        (["--obedience", "[]"], "--obedience names no metric"),
        (
            ["--obedience", "[ShapesMask]"],
            "needs images whose conditions are known, such as samples of a run",
        ),
        ([*DIGITS, "--sizes", "8"], "no option --sizes, did you mean '--resize'?"),
        ([*DIGITS, "--on-error", "ignore"], "invalid choice: 'ignore'"),
        ([*DIGITS, "--resize", "8", "--pad", "8"], "choose one of --resize 8 and --pad 8"),
        ([*DIGITS, "--pad", "0"], "--pad must be at least 1, got 0"),
        ([*DIGITS, "--n", "9"], "--n is for samples of a run, and there is no run"),
        ([*DIGITS, "--trust", "mine"], "--trust mine: no module 'mine' here or installed"),
        ([*DIGITS, "--train", "nowhere"], "no file or folder nowhere"),
        ([*DIGITS, "--train", "data/digit.yaml"], "no config file data/digit.yaml, did you mean"),
        ([*DIGITS, "--split", "train", "--train", "data/digits.yaml"], "memorisation needs real images held out"),
        ([*DIGITS, "--data.rot", "x"], "rot"),
        ([*DIGITS, "--device", "gpu"], "--device gpu cannot be used"),
    ],
)
def test_bad_options_are_refused(args: list[str], line: str, folder: Path, fails: Fails) -> None:
    assert line in fails(*EVALUATE, folder, *args)


def test_options_of_data_need_a_data_config(folder: Path, tmp_path: Path, fails: Fails) -> None:
    assert "--data.root is for data configs" in fails("evaluate", "--data.root", "x", folder, folder, *DIGITS)
    (tmp_path / "x.yaml").write_text("model: {}")
    assert "has no data; give one such as" in fails("evaluate", tmp_path / "x.yaml", folder, *DIGITS)
    line = fails("evaluate", "data/mnist.yaml", folder, "--extractor", "mnist", "--data.root", tmp_path,
                 "--data.download=false", "--pad", "32", code=1)  # fmt: skip
    assert f"no MNIST in {tmp_path}" in line
    assert "no config file data/digit.yaml, did you mean" in fails("evaluate", "data/digit.yaml", folder, *DIGITS)
