"""CelebA's published files: read as torchvision does, from the packed images too; what is wrong with them is named."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from image_files import check_resume, write, write_zip
from PIL import Image
from torchvision import datasets

from condgen.cli.data_config import data_module
from condgen.data import CelebA
from condgen.data.base import Split
from condgen.data.celeba import ATTRIBUTES

COUNT = 40
PART = [0] * 30 + [1] * 6 + [2] * 4
PERSON = [10177, 1, *range(2881, 2881 + COUNT - 2)]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
NAMES = [f"{number:06d}.jpg" for number in range(1, COUNT + 1)]
SIGNS = np.random.default_rng(0).choice([-1, 1], (COUNT, 40))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path / "cache"))


def face(level: int) -> bytes:
    """A grey square of 178 pixels, between a black and a white stripe of 20."""
    pixels = np.full((218, 178, 3), level, np.uint8)
    pixels[:20], pixels[-20:] = 0, 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def lists() -> dict[str, bytes]:
    """The published lists, in their format: attributes are aligned by spaces."""
    signs = [f"{name} {' '.join(f'{sign:2d}' for sign in row)}" for name, row in zip(NAMES, SIGNS, strict=True)]
    texts = {
        "list_attr_celeba.txt": [str(COUNT), " ".join(ATTRIBUTES) + " ", *signs],
        "identity_CelebA.txt": [f"{name} {person}" for name, person in zip(NAMES, PERSON, strict=True)],
        "list_eval_partition.txt": [f"{name} {part}" for name, part in zip(NAMES, PART, strict=True)],
    }
    return {name: ("\n".join(lines) + "\n").encode() for name, lines in texts.items()}


def images() -> dict[str, bytes]:
    return {f"img_align_celeba/{name}": face(10 + 5 * place) for place, name in enumerate(NAMES)}


def made(root: Path, packed: bool = True, **changes: bytes) -> str:
    """Write the set, with other contents of some files (by names without endings); return its root."""
    write(root / "celeba", {name: changes.get(name.partition(".")[0], content) for name, content in lists().items()})
    if packed:
        write_zip(root / "celeba" / "img_align_celeba.zip", images())
    else:
        write(root / "celeba", images())
    return str(root)


@pytest.mark.parametrize(("packed", "cache_gib"), [(True, 8.0), (True, 0.0), (False, 8.0)])
def test_images_come_in_the_published_partition(packed: bool, cache_gib: float, tmp_path: Path) -> None:
    data = CelebA(made(tmp_path, packed), 16, identity=True, cache_gib=cache_gib)
    data.prepare_data()
    start = 0
    for number, split in enumerate(SPLITS):
        rows = data.images(split).all()
        count, places = PART.count(number), range(start, start + PART.count(number))
        assert rows.pixels.shape == (count, 3, 16, 16)
        assert rows.pixels[:, 0, 8, 8].tolist() == [10 + 5 * place for place in places]
        assert rows.cond["label"].tolist() == [PERSON[place] - 1 for place in places]
        assert torch.equal(rows.cond["attributes"], torch.tensor(SIGNS[start : start + count] == 1).float())
        start += count


def test_the_middle_square_is_resampled(tmp_path: Path) -> None:
    pixels = CelebA(made(tmp_path), 178).images("train").all().pixels
    assert torch.equal(pixels, (10 + 5 * torch.arange(30)).view(-1, 1, 1, 1).expand_as(pixels).byte())


def test_torchvision_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(tmp_path, packed=False)
    zeros = "".join(f"{name} {' '.join(['0'] * 10)}\n" for name in NAMES)
    for name in ("list_bbox_celeba.txt", "list_landmarks_align_celeba.txt"):
        (tmp_path / "celeba" / name).write_text(f"{COUNT}\nhead\n{zeros}")
    monkeypatch.setattr(datasets.CelebA, "_check_integrity", lambda self: True)
    data = CelebA(root, identity=True)
    for split, name in zip(SPLITS, ("train", "valid", "test"), strict=True):
        published, rows = datasets.CelebA(root, name, ["attr", "identity"]), data.images(split).all()
        assert published.attr_names[:40] == list(ATTRIBUTES)
        assert torch.equal(rows.cond["attributes"], published.attr.float())
        assert torch.equal(rows.cond["label"] + 1, published.identity[:, 0])


def test_what_is_offered_needs_no_files() -> None:
    spec = CelebA("nowhere").cond_spec
    assert spec == {"attributes": {"names": list(ATTRIBUTES), "low": [0.0] * 40, "high": [1.0] * 40}}
    assert len(set(ATTRIBUTES)) == 40
    names = CelebA("nowhere", identity=True, attributes=[]).cond_spec["label"]["names"]
    assert (len(names), names[0], names[-1]) == (10_177, "1", "10177")
    with pytest.raises(ValueError, match=r"no attribute 'Smilling'; did you mean 'Smiling'\?"):
        CelebA("nowhere", attributes=["Smilling"])
    config = data_module("data/celeba.yaml", ["--data.attributes", "[Male, Smiling]"])
    assert config.cond_spec["attributes"]["names"] == ["Male", "Smiling"]


def test_some_attributes_may_be_chosen(tmp_path: Path) -> None:
    values = CelebA(made(tmp_path), attributes=["Young", "Male"]).images("train").all().cond["attributes"]
    columns = [ATTRIBUTES.index("Young"), ATTRIBUTES.index("Male")]
    assert torch.equal(values, torch.tensor(SIGNS[:30, columns] == 1).float())


def test_batches_go_on_in_mid_epoch(tmp_path: Path) -> None:
    root = made(tmp_path)
    check_resume(lambda: CelebA(root, 8, cache_gib=0.0, workers=0, batch_size=10))


# ---------------------------------------------------------------------- damage


def changed(name: str, old: str, new: str) -> dict[str, bytes]:
    content = lists()[name].decode()
    assert old in content
    return {name.partition(".")[0]: content.replace(old, new, 1).encode()}


A, P, I = "list_attr_celeba.txt", "list_eval_partition.txt", "identity_CelebA.txt"


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (A, "Male", "Female", "line 2: the head names Female, where Male is due"),
        (A, "Young", "", "line 2: the head names nothing, where Young is due"),
        (A, "40", "41", "line 1: says '41' images, but 40 follow; the file is not whole"),
        (A, NAMES[6], "7.jpg", f"line 9: is of 7.jpg, where list_eval_partition.txt has {NAMES[6]}"),
        (A, f"{NAMES[6]} {SIGNS[6, 0]:2d}", f"{NAMES[6]} 0", "line 9: 000007.jpg has the value '0'; values are -1, 1"),
        (P, f"{NAMES[2]} 0", f"{NAMES[2]} 3", "line 3: 000003.jpg has the value '3'; values are 0, 1, 2"),
        (P, f"{NAMES[2]} 0", f"{NAMES[2]}", "line 3: must be the name of an image and 1 values, got '000003.jpg'"),
        (P, NAMES[2], "x.jpg", "line 3: x.jpg is not in "),
        (I, "10177", "10178", "line 1: 000001.jpg has the value '10178'; values are 1 to 10177"),
        (I, f"{NAMES[-1]} {PERSON[-1]}\n", "", " has 39 images, and list_eval_partition.txt 40; one is not whole"),
    ],
)
def test_what_is_wrong_with_a_list_names_the_line(name: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    attributes = [] if name == P else None
    with pytest.raises(ValueError, match=r"\A.*\Z") as caught:
        CelebA(made(tmp_path, **changed(name, old, new)), attributes=attributes, identity=name == I).prepare_data()
    assert str(caught.value).removeprefix(str(tmp_path / "celeba" / name)).lstrip().startswith(message.lstrip())


def missing(data: CelebA) -> str:
    with pytest.raises(FileNotFoundError, match=r"\A.*\Z") as caught:
        data.prepare_data()
    return str(caught.value)


def test_what_is_missing_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    line = missing(CelebA(str(tmp_path)))
    assert line.startswith(f"no list_eval_partition.txt in {tmp_path}/celeba; put img_align_celeba.zip, list_attr")
    assert line.endswith("from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html; or set data.download to true")
    write(tmp_path / "celeba", lists())
    assert missing(CelebA(str(tmp_path))).startswith("no img_align_celeba.zip, nor a folder of that name without .zip")
    (tmp_path / "celeba" / "identity_CelebA.txt").unlink()
    assert missing(CelebA(str(tmp_path), identity=True)).startswith("no identity_CelebA.txt in")


# ---------------------------------------------------------------------- download


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Google Drive, whose files are the tiny set's; those in the returned dict come in place of them."""
    source = tmp_path / "source"
    made(source)
    files = {path.name: path.read_bytes() for path in (source / "celeba").iterdir() if path.is_file()}
    sums = [(f"id-{name}", hashlib.md5(content).hexdigest(), name) for name, content in files.items()]
    monkeypatch.setattr(datasets.CelebA, "file_list", sums)
    wrong: dict[str, bytes] = {}

    def download(*, id: str, output: str, **_: Any) -> None:
        name = id.removeprefix("id-")
        Path(output).write_bytes(wrong.get(name, files[name]))

    gdown = ModuleType("gdown")
    monkeypatch.setattr(gdown, "download", download, raising=False)
    monkeypatch.setitem(sys.modules, "gdown", gdown)
    return wrong


def test_files_are_downloaded_once_and_stay_packed(
    tmp_path: Path, drive: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = CelebA(str(tmp_path / "here"), download=True)
    data.prepare_data()
    assert len(data.images("train")) == 30
    found = {"img_align_celeba.zip", "list_attr_celeba.txt", "identity_CelebA.txt", "list_eval_partition.txt"}
    assert {path.name for path in (tmp_path / "here" / "celeba").iterdir()} == found
    monkeypatch.setitem(sys.modules, "gdown", None)
    CelebA(str(tmp_path / "here"), download=True).prepare_data()


def test_a_download_that_fails_is_one_line_and_leaves_nothing(
    tmp_path: Path, drive: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = CelebA(str(tmp_path / "here"), download=True)
    drive["img_align_celeba.zip"] = b"<html>Too many users have viewed this file recently"
    line = missing(data)
    assert line.startswith("no img_align_celeba.zip, and it could not be downloaded (File not found or corrupted.), in")
    assert line.endswith("from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html")
    assert not (tmp_path / "here").exists()
    monkeypatch.setitem(sys.modules, "gdown", None)
    assert "(pip install 'condgen[data]' brings gdown, which it takes)" in missing(data)
