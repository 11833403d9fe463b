from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from conftest import REPO
from PIL import Image

from condgen.cli import main
from condgen.data import CIFAR10JPEG, InTurn, RandomAffine, RandomFlip
from condgen.data.cifar10 import NAMES
from condgen.seeding import generator

SIZES = (20, 10, 10)


@pytest.fixture(autouse=True)
def small_sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "jpeg_root" not in request.fixturenames:
        monkeypatch.setattr("condgen.data.CIFAR10JPEG.sizes", SIZES)


def jpeg(red: int, size: tuple[int, int] = (32, 32)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (red, 100, 50)).save(file, format="JPEG", quality=95)
    return file.getvalue()


def pictures() -> dict[str, bytes]:
    """40 JPEGs, 3 a class for training and 1 for testing; red tells class and number."""
    out = {}
    for number, name in enumerate(NAMES):
        for i in (2, 0, 1):  # not in order
            out[f"train/{name}/{i:04d}.jpg"] = jpeg(number * 20 + i * 5)
        out[f"test/{name}/0000.jpg"] = jpeg(number * 20)
    return out


def write_zip(path: Path, files: dict[str, bytes]) -> str:
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


def write_folder(path: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return str(path)


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_jpegs_are_read_by_class_and_name(write: Callable[..., str], tmp_path: Path) -> None:
    extra = {"train/README.md": b"", "train/cat/notes.txt": b"no picture", "train/zebra/0000.jpg": jpeg(3)}
    data = CIFAR10JPEG(root=write(tmp_path / "pictures", pictures() | extra))
    assert data.cond_spec["label"]["names"][:3] == ["airplane", "automobile", "bird"]
    data.prepare_data()
    splits = [data.images(name).all() for name in ("train", "validation", "test")]
    red = torch.cat([split.pixels[:, 0, 16, 16].int() for split in splits[:2]]).sort().values
    assert (red - torch.tensor([n * 20 + i * 5 for n in range(10) for i in range(3)])).abs().max() <= 2
    assert [len(split) for split in splits] == list(SIZES)
    for split, per_class in zip(splits, (2, 1, 1), strict=True):
        assert torch.bincount(split.cond["label"]).tolist() == [per_class] * 10
        assert split.pixels.shape == (len(split), 3, 32, 32)
        assert (split.pixels[:, 1].int() - 100).abs().max() <= 2
        assert ((split.pixels[:, 0, 16, 16].int() + 2) // 20).tolist() == split.cond["label"].tolist()


def test_what_is_wrong_with_jpegs_is_said_in_one_line(tmp_path: Path) -> None:
    def error(kind: type[Exception], root: str) -> str:
        data = CIFAR10JPEG(root=root)
        with pytest.raises(kind) as caught:
            data.images("train")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    good = pictures()
    assert error(FileNotFoundError, str(tmp_path / "nowhere.zip")).endswith("nowhere.zip; set data.root")
    cut = write_zip(tmp_path / "cut.zip", good | {"train/cat/0001.jpg": good["train/cat/0001.jpg"][:-300]})
    expected = f"1 of 40 images of {cut} are damaged: train/cat/0001.jpg in {cut}: damaged: Truncated File Read"
    assert error(ValueError, cut).startswith(f"{expected}; on_error skip leaves them out")
    skipped = CIFAR10JPEG(root=cut, on_error="skip")
    assert sum(len(skipped.images(split)) for split in ("train", "validation", "test")) == 39
    png = write_folder(tmp_path / "png", good | {"train/dog/0000.jpg": b"\x89PNG"})
    assert f"{png}/train/dog/0000.jpg: not an image file" in error(ValueError, png)
    few = write_zip(tmp_path / "few.zip", {k: v for k, v in good.items() if k != "train/frog/0001.jpg"})
    assert error(ValueError, few) == "CIFAR10JPEG has 29 training images, not 30"
    none = write_zip(tmp_path / "none.zip", {k: v for k, v in good.items() if "/frog" not in k})
    assert error(ValueError, none) == f"no images of class frog in {none}"
    half = tmp_path / "half.zip"
    half.write_bytes(Path(cut).read_bytes()[:5000])
    assert error(ValueError, str(half)).startswith(f"{half} is not a whole zip file")
    flipped = bytearray(Path(cut).read_bytes())
    flipped[200] ^= 255
    (tmp_path / "flipped.zip").write_bytes(flipped)
    assert "train/airplane/0002.jpg in" in error(ValueError, str(tmp_path / "flipped.zip"))


def test_its_config_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_zip(tmp_path / "pictures.zip", pictures())
    args = ["-c", "trainer/default.yaml", "-c", "data/cifar10_jpeg.yaml", "-c", "model/dcgan.yaml", "--data.root", root]
    steps = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "1", "--trainer.accelerator", "cpu"]
    assert main(["fit", *args, *steps, "--model.generator.width", "4", "--model.discriminator.width", "4"]) == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert "RandomFlip" in (run / "config.yaml").read_text()
    assert not list(tmp_path.glob("runs/*/*/metrics.json"))


def test_both_configs_agree_but_for_the_source() -> None:
    first, second = ((REPO / "configs" / "data" / f"{n}.yaml").read_text() for n in ("cifar10", "cifar10_jpeg"))
    assert first[first.index("evaluation:") :] == second[second.index("evaluation:") :]


def test_flips_mirror_about_half_of_the_images() -> None:
    image = torch.rand(400, 3, 4, 4) * 2 - 1
    out = RandomFlip()(image, generator("x"))
    mirrored = (out == image.flip(3)).flatten(1).all(dim=1)
    assert torch.equal(out[~mirrored], image[~mirrored])
    assert 150 < int(mirrored.sum()) < 250
    assert torch.equal(RandomFlip(0.0)(image, generator("x")), image)
    assert torch.equal(RandomFlip(1.0)(image, generator("x")), image.flip(3))


def test_augmentations_in_turn_share_one_generator() -> None:
    image, source = torch.rand(8, 1, 8, 8), generator("x")
    by_hand = RandomAffine()(RandomFlip()(image, source), source)
    assert torch.equal(InTurn(RandomFlip(), RandomAffine())(image, generator("x")), by_hand)


@pytest.fixture
def jpeg_root() -> str:
    for folder in (os.environ.get("CONDGEN_CIFAR10_JPEG", ""), REPO / "data", REPO.parent / "shared" / "data"):
        path = Path(folder) / "CIFAR10_JPEG" / "cifar10_jpeg.zip"
        if folder and path.is_file():
            return str(path)
    pytest.skip("no JPEGs of CIFAR-10 here; set CONDGEN_CIFAR10_JPEG to the folder of CIFAR10_JPEG/cifar10_jpeg.zip")


def test_the_real_jpegs_have_the_known_colours(jpeg_root: str) -> None:
    test = CIFAR10JPEG(root=jpeg_root).images("test").all()
    assert torch.bincount(test.cond["label"]).tolist() == [1000] * 10
    x = test.pixels[::4].double() / 255
    assert x.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0.494, 0.485, 0.450], abs=0.01)
    assert x.std(dim=(0, 2, 3)).tolist() == pytest.approx([0.247, 0.244, 0.262], abs=0.01)
