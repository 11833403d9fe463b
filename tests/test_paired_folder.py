"""Pairs of images, in two folders or side by side."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from image_files import check_resume, palette, picture, shared_file, write, write_zip
from PIL import Image

from condgen.cli.data_config import data_module
from condgen.data import PairedFolder, RandomFlip

COUNT = 30
SPLITS = ("train", "validation", "test")
WORDS = ("train", "val", "test")


def level(pixels: torch.Tensor) -> list[int]:
    return (pixels[:, 0, 0, 0].int() // 5).tolist()


def word_of(i: int) -> str:
    return WORDS[i % 3]


def layout(source: str, target: str, make: Callable[[int], bytes] | None = None) -> dict[str, bytes]:
    """Pairs whose names come from two patterns; red of the target is 5 i, of the source 5 i + 100."""
    out = {}
    for i in range(COUNT):
        values = {"split": word_of(i), "n": f"{i:03d}"}
        out[source.format(**values)] = make(i) if make else picture(i * 5 + 100)
        out[target.format(**values)] = picture(i * 5)
    return out


def halves(i: int) -> bytes:
    file, image = io.BytesIO(), np.zeros((8, 16, 3), np.uint8)
    image[:, :8, 0], image[:, 8:, 0] = i * 5, i * 5 + 100
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


def open_pairs(root: Path, **kwargs: Any) -> PairedFolder:
    return PairedFolder(str(root), 8, **{"source": "drawn", "target": "photo"} | kwargs)  # type: ignore[arg-type]


def check_pairs(data: PairedFolder, given: bool) -> None:
    seen = []
    for place, split in enumerate(SPLITS):
        rows = data.images(split).all()
        numbers = level(rows.pixels)
        assert level(rows.cond["source"]) == [i + 20 for i in numbers]
        assert not given or numbers == list(range(place, COUNT, 3))
        seen += numbers
    assert sorted(seen) == list(range(COUNT))
    assert data.cond_spec == {"source": {"channels": 3, "paired": True}}
    assert data.image_shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("source", "target", "given"),
    [
        ("{split}/drawn/{n}.png", "{split}/photo/{n}.PNG", True),
        ("all/{split}/drawn/{n}.png", "all/{split}/photo/{n}.png", True),
        ("drawn/{split}/{n}.png", "photo/{split}/{n}.png", True),
        ("drawn/{n}.png", "photo/{n}.png", False),
        ("drawn/x/y/{n}.bmp", "photo/x/y/{n}.png", False),
    ],
)
@pytest.mark.parametrize("pack", [write, write_zip])
def test_pairs_are_found_by_name(
    pack: Callable[..., Path], source: str, target: str, given: bool, tmp_path: Path
) -> None:
    check_pairs(open_pairs(pack(tmp_path / "pairs.zip", layout(source, target))), given)


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    more = {"train/edges/001.png": picture(9), "test/edges/999.png": picture(9)}
    root = write(tmp_path, layout("{split}/drawn/{n}.png", "{split}/photo/{n}.png") | more)
    check_pairs(open_pairs(root), given=True)


@pytest.mark.parametrize("pattern", ["{split}/{n}.png", "{n}.png"])
def test_pairs_lie_side_by_side(pattern: str, tmp_path: Path) -> None:
    names = [pattern.format(split=word_of(i), n=f"{i:03d}") for i in range(COUNT)]
    root = write(tmp_path, {name: halves(i) for i, name in enumerate(names)})
    check_pairs(open_pairs(root, source=None, target=None, direction="right_to_left"), "split" in pattern)
    back = open_pairs(root, source=None, target=None, direction="left_to_right").images("test").all()
    assert [i - 20 for i in level(back.pixels)] == level(back.cond["source"])


def mask_pairs(tmp_path: Path) -> Path:
    def mask(i: int) -> bytes:
        return palette(np.where(np.arange(64).reshape(8, 8) % 3 == i % 3, 2, 0))

    return write(tmp_path, layout("{split}/drawn/{n}.png", "{split}/photo/{n}.png", mask))


def test_sources_may_be_masks(tmp_path: Path) -> None:
    data = open_pairs(mask_pairs(tmp_path), num_classes=3, augment=RandomFlip(1.0), batch_size=10)
    assert data.cond_spec == {"mask": {"num_classes": 3}}
    rows = data.images("validation").all()
    for place, i in enumerate(level(rows.pixels)):
        assert rows.cond["mask"][place].flatten().tolist() == [2 * (k % 3 == i % 3) for k in range(64)]
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    assert batch["cond"]["mask"].dtype == torch.int64
    with pytest.raises(ValueError, match=r"30 of 30 images of .* are damaged: .*class 2, where there"):
        open_pairs(tmp_path, num_classes=2).prepare_data()


def test_masks_may_lie_beside_their_images(tmp_path: Path) -> None:
    for i in range(COUNT):
        both = np.concatenate([np.full((8, 8), i % 3, np.uint8), np.full((8, 8), i * 5, np.uint8)], axis=1)
        Image.fromarray(both).save(tmp_path / f"{i:02d}.png")
    data = open_pairs(tmp_path, source=None, target=None, direction="left_to_right", num_classes=3, grey=True)
    rows = data.images("train").all()
    assert rows.cond["mask"].flatten(1).amax(1).tolist() == [i % 3 for i in level(rows.pixels)]
    assert rows.cond["mask"].flatten(1).amin(1).tolist() == [i % 3 for i in level(rows.pixels)]


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    good = layout("{split}/drawn/{n}.png", "{split}/photo/{n}.png")

    def error(name: str, files: dict[str, bytes], **kwargs: Any) -> str:
        data = open_pairs(write(tmp_path / name, files), **kwargs)
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            data.images("train")
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(tmp_path / name), "ROOT")

    few = {name: content for name, content in good.items() if name not in ("val/photo/004.png", "test/photo/008.png")}
    expected = "has no partner in photo (2 such files); pairs are files of equal names, but for their endings"
    assert error("few", few) == f"test/drawn/008.png in ROOT {expected}"
    more = good | {"train/photo/x.png": picture(0)}
    assert error("more", more).startswith("train/photo/x.png in ROOT has no partner in drawn; pairs are")
    twice = error("twice", good | {"train/photo/000.bmp": picture(0)})
    assert twice == "ROOT holds train/photo/000.bmp and train/photo/000.png: which is one of a pair?"
    message = "no images in a folder drawing of ROOT; folders are drawn, photo, test, train, val"
    assert error("name", good, source="drawing") == message
    only = {name: content for name, content in good.items() if name.startswith("test")}
    assert error("only", only) == "there are no training images, but only those for test"
    side = {"source": None, "target": None, "direction": "left_to_right"}
    beside = error("beside", {"train/1.png": halves(1), "val/1.png": halves(2), "cover.png": halves(3)}, **side)
    assert beside == "ROOT has folders train, val, and cover.png beside them"
    for settings in ({"source": None}, {"direction": "left_to_right"}, {"source": "photo"}):
        with pytest.raises(ValueError, match="give either source and target, the names of two folders, or direction"):
            open_pairs(tmp_path, **settings)


def test_damaged_files_fail_or_their_pairs_are_left_out(tmp_path: Path) -> None:
    files = layout("{split}/drawn/{n}.png", "{split}/photo/{n}.png")
    files["train/drawn/003.png"] = picture(3)[:-20]
    files["train/photo/006.png"] = b""
    root = write(tmp_path, files)
    with pytest.raises(ValueError, match=r"1 of 30 images of .* are damaged: .*; on_error skip leaves them out"):
        open_pairs(root).prepare_data()
    rows = open_pairs(root, on_error="skip").images("train").all()
    assert level(rows.pixels) == [0, *range(9, COUNT, 3)]
    assert level(rows.cond["source"]) == [i + 20 for i in level(rows.pixels)]


@pytest.mark.parametrize("cache_gib", [8.0, 0.0])
def test_it_resumes_in_mid_epoch(cache_gib: float, tmp_path: Path) -> None:
    root = mask_pairs(tmp_path)
    check_resume(lambda: open_pairs(root, num_classes=3, cache_gib=cache_gib, batch_size=3, workers=0))


def test_its_fingerprint_knows_sources_and_directions(tmp_path: Path) -> None:
    root = write(tmp_path, layout("{split}/drawn/{n}.png", "{split}/photo/{n}.png"))
    first = open_pairs(root).fingerprint("test")
    assert open_pairs(root).fingerprint("test") == first
    assert open_pairs(root, source="photo", target="drawn").fingerprint("test") != first
    write(tmp_path, {"test/drawn/002.png": picture(0)})
    assert open_pairs(root).fingerprint("test") != first


def test_facades_are_the_published_ones() -> None:
    root = shared_file("FACADES/facades_256.zip")
    colours = data_module("data/facades.yaml", ["--data.root", str(root)])
    masks = data_module("data/facades.yaml", ["--data.root", str(root), "--data.num_classes", "12"])
    assert [len(masks.images(split)) for split in SPLITS] == [400, 100, 106]
    place = torch.tensor([41])
    mask, colour = masks.images("train").take(place), colours.images("train").take(place)
    with ZipFile(root) as archive:
        label, photo = (Image.open(archive.open(f"train/{name}")) for name in ("label/042.png", "photo/042.jpg"))
        assert torch.equal(mask.cond["mask"][0], torch.from_numpy(np.array(label)))
        as_colour = torch.from_numpy(np.array(label.convert("RGB"))).permute(2, 0, 1)
        assert torch.equal(colour.cond["source"][0], as_colour)
        for rows in (mask, colour):
            assert torch.equal(rows.pixels[0], torch.from_numpy(np.array(photo)).permute(2, 0, 1))
