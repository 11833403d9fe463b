"""Images in array files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import check_resume

from condgen.data import ImageArrays, open_images

COUNT = 40
SPLITS = ("train", "validation", "test")


def images(count: int = COUNT, first: int = 0, shape: tuple[int, ...] = (6, 5)) -> np.ndarray:
    """Images whose every pixel is their number."""
    numbers = np.arange(first, first + count, dtype=np.uint8).reshape(-1, *[1] * len(shape))
    return np.broadcast_to(numbers, (count, *shape)).copy()


def number(pixels: torch.Tensor) -> list[int]:
    return pixels[:, 0, 0, 0].tolist()


def label(count: int = COUNT, first: int = 0) -> np.ndarray:
    return np.arange(first, first + count) % 4


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("shape", "due"),
    [((6, 5), (1, 6, 5)), ((6, 5, 1), (1, 6, 5)), ((6, 5, 3), (3, 6, 5)), ((3, 6, 5), (3, 6, 5))],
)
def test_images_and_labels_are_read_in_every_layout(
    save: Callable[..., None], shape: tuple[int, ...], due: tuple[int, ...], tmp_path: Path
) -> None:
    save(tmp_path / "a.npz", images=images(shape=shape), labels=label())
    data = ImageArrays(str(tmp_path / "a.npz"))
    assert data.image_shape == due
    assert data.cond_spec == {"label": {"names": ["0", "1", "2", "3"]}}
    seen = []
    for split, size in zip(SPLITS, (32, 4, 4), strict=True):
        rows = data.images(split).all()
        assert rows.pixels.shape == (size, *due)
        assert rows.cond["label"].tolist() == [n % 4 for n in number(rows.pixels)]
        assert torch.bincount(rows.cond["label"]).tolist() == [size // 4] * 4
        seen += number(rows.pixels)
    assert sorted(seen) == list(range(COUNT))


def test_channels_keep_their_pixels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (COUNT, 6, 5, 3)).astype(np.uint8)
    x[:, 0, 0, 0] = np.arange(COUNT)
    np.save(tmp_path / "a.npy", x)
    rows = ImageArrays(str(tmp_path / "a.npy")).images("test").all()
    assert torch.equal(rows.pixels, torch.from_numpy(x[number(rows.pixels)]).permute(0, 3, 1, 2))


def medmnist(**more: Any) -> dict[str, Any]:
    """Arrays as MedMNIST names them: 40, 10 and 12 images, labels (N, 1) uint8."""
    out: dict[str, Any] = {}
    first = 0
    for word, count in (("train", 40), ("val", 10), ("test", 12)):
        out[f"{word}_images"] = images(count, first, (6, 5, 3))
        out[f"{word}_labels"] = label(count, first).astype(np.uint8)[:, None]
        first += count
    return out | more


def test_medmnist_files_are_read_as_they_are(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bloodmnist.npz", **medmnist())
    data = ImageArrays(str(tmp_path / "bloodmnist.npz"), class_names=["a", "b", "c", "d"])
    assert data.image_shape == (3, 6, 5)
    assert data.cond_spec == {"label": {"names": ["a", "b", "c", "d"]}}
    for split, numbers in zip(SPLITS, (range(40), range(40, 50), range(50, 62)), strict=True):
        rows = data.images(split).all()
        assert number(rows.pixels) == list(numbers)
        assert rows.cond["label"].tolist() == [n % 4 for n in numbers]


def test_one_array_serves_all_of_its_splits(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=images(), labels=label())
    data = ImageArrays(str(tmp_path / "a.npz"))
    assert len({id(data.images(split).whole.array) for split in SPLITS}) == 1  # type: ignore[attr-defined]


def test_splits_that_are_not_given_are_cut_out_of_training(tmp_path: Path) -> None:
    arrays = {k: v for k, v in medmnist().items() if not k.startswith("val") and "labels" not in k}
    np.savez(tmp_path / "a.npz", **arrays)
    data = ImageArrays(str(tmp_path / "a.npz"))
    assert data.cond_spec == {}
    assert number(data.images("test").all().pixels) == list(range(50, 62))
    parts = [number(data.images(split).all().pixels) for split in ("train", "validation")]
    assert [len(part) for part in parts] == [36, 4]
    assert sorted(parts[0] + parts[1]) == list(range(40))


def test_images_are_mapped_and_heads_are_enough_for_the_shape(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **medmnist(train_images=images(200, 0, (6, 5, 3)), train_labels=label(200)))
    data = ImageArrays(str(tmp_path / "a.npz"))
    assert isinstance(data.load("test").array, np.memmap)  # type: ignore[attr-defined]
    content = (tmp_path / "a.npz").read_bytes()
    spoilt = bytearray(content)
    spoilt[15_000] ^= 255  # a pixel of train_images
    (tmp_path / "a.npz").write_bytes(spoilt)
    data = ImageArrays(str(tmp_path / "a.npz"))
    assert data.image_shape == (3, 6, 5)
    assert len(data.cond_spec["label"]["names"]) == 4
    assert len(data.images("test")) == 12
    with pytest.raises(
        ValueError, match=r"a\.npz is not a whole \.npz file of plain arrays: Bad CRC-32 for file 'train"
    ):
        data.images("train")


def wrong() -> list[tuple[dict[str, Any], dict[str, Any], str]]:
    return [
        ({"images": images(), "labels": label()}, {"class_names": ["a"]}, "has label 3, but class_names are only 1"),
        ({"images": images(), "labels": label()}, {"class_names": list("abcde")}, "class e of PATH has no training"),
        ({"images": images()}, {"class_names": ["a"]}, "class_names are given, but PATH has no labels"),
        ({"images": images(), "labels": label(39)}, {}, "labels of PATH must be 40 integers >= 0, got (39,) int64"),
        ({"images": images(), "labels": label() / 4}, {}, "labels of PATH must be 40 integers >= 0, got (40,) float64"),
        ({"images": images() / 255}, {}, "where uint8 in [0, 255] is due; save (x * 255)"),
        ({"pictures": images(), "names": label()}, {}, "PATH must hold one array named images or arr_0 or x"),
        ({"images": images(shape=(2, 5, 5))}, {}, "has neither 1 nor 3 channels"),
        ({"val_images": images()}, {}, "PATH has no train_images, but val_images"),
        ({k: v for k, v in medmnist().items() if k != "val_labels"}, {},
         "PATH has train_labels, test_labels, but no val_labels"),
        (medmnist(test_images=images(12, 0, (6, 6, 3))), {},
         "test_images of PATH are (6, 6, 3), but train_images (6, 5, 3)"),
        ({"images": images(4)}, {}, "PATH has too few images for validation: 4"),
        ({"images": np.array([{}])}, {}, "images of PATH must be (N, H, W)"),
    ]  # fmt: skip


@pytest.mark.parametrize(("arrays", "settings", "message"), wrong())
def test_what_is_wrong_is_said_in_one_line(
    arrays: dict[str, Any], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    data = ImageArrays(str(path), **settings)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        print(data.image_shape, data.cond_spec, *(data.images(split) for split in SPLITS))  # type: ignore[arg-type]
    assert message in str(caught.value).replace(str(path), "PATH")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.npz; set data\.path"):
        ImageArrays(str(tmp_path / "none.npz")).image_shape  # noqa: B018
    for name in ("a.npz", "a.npy"):
        (tmp_path / name).write_bytes(b"no array")
        with pytest.raises(ValueError, match=r"a whole \.np. file of plain arrays: "):
            ImageArrays(str(tmp_path / name)).image_shape  # noqa: B018
    np.save(tmp_path / "cut.npy", images())
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cut\.npy is not a whole \.npy file"):
        ImageArrays(str(tmp_path / "cut.npy")).images("train")


def test_labels_in_a_column_serve_any_array_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=images(), labels=label()[:, None])
    found = open_images(tmp_path / "a.npz").label
    assert found is not None
    assert found.tolist() == label().tolist()


def test_it_resumes_in_mid_epoch(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=images(), labels=label())
    check_resume(lambda: ImageArrays(str(tmp_path / "a.npz"), batch_size=8))


def test_its_fingerprint_is_that_of_the_file(tmp_path: Path) -> None:
    def prints(x: np.ndarray) -> list[str]:
        np.savez(tmp_path / "a.npz", images=x, labels=label())
        return [ImageArrays(str(tmp_path / "a.npz")).fingerprint(split) for split in SPLITS]

    first = prints(images())
    assert len(set(first)) == 3
    assert prints(images()) == first
    assert prints(images(first=1)) != first
