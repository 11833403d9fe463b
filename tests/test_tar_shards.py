"""Tar shards in WebDataset's layout: samples, conditions beside them, splits by names, and the order of batches."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from image_files import check_resume, picture

from condgen.conditions.tokenisers import Words, make_tokeniser
from condgen.data import BatchLoader, DamagedImagesError, RandomSplit, TarShards
from condgen.data.archive_stores import TarStore
from condgen.data.base import Split

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sample(level: int, **changes: bytes | None) -> Files:
    """The files of a sample by their endings: an image whose red is `level`, and what follows from that."""
    record = {"class": level % 3, "age": level / 2, "smiling": level % 2 == 1, "captions": [f"{level}", f"red {level}"]}
    files = {
        "png": picture(level),
        "cls": str(level % 3).encode(),
        "txt": f"r\u00e9d {level}\n".encode(),
        "json": json.dumps(record).encode(),
    }
    return {ending: content for ending, content in (files | changes).items() if content is not None}


def write_shard(path: Path, samples: dict[str, Files]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for key, files in samples.items():
            for ending, content in files.items():
                entry = tarfile.TarInfo(f"{key}.{ending}")
                entry.size = len(content)
                archive.addfile(entry, BytesIO(content))
    return path


def write_shards(root: Path, counts: dict[str, int]) -> str:
    """Some samples a shard, each with keys from 0; levels go on from shard to shard."""
    level = 0
    for name, count in counts.items():
        write_shard(root / f"{name}.tar", {f"{i:04d}": sample(level + i) for i in range(count)})
        level += count
    return str(root)


def levels(data: TarShards, split: Split) -> list[int]:
    return data.images(split).all().pixels[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("cache_gib", [8.0, 0.0])
def test_samples_carry_what_is_beside_them(cache_gib: float, tmp_path: Path) -> None:
    root = write_shards(tmp_path / "set", {"train-000": 20, "train-001": 10, "val-000": 6, "test-000": 3})
    data = TarShards(root, 8, attributes=["age", "smiling"], caption="txt", max_length=9, cache_gib=cache_gib)
    assert data.cond_spec == {
        "label": {"names": ["0", "1", "2"]},
        "attributes": {"names": ["age", "smiling"], "low": [0.0, 0.0], "high": [19.0, 1.0]},
        "text": {"max_length": 9, "words": ["réd"], "max_words": 2},
    }
    assert [levels(data, split) for split in SPLITS] == [[*range(30)], [*range(30, 36)], [*range(36, 39)]]
    for split in SPLITS:
        rows = data.images(split).all()
        level = rows.pixels[:, 0, 0, 0].long()
        assert torch.equal(rows.cond["label"], level % 3)
        assert torch.equal(rows.cond["attributes"], torch.stack([level / 2, (level % 2).float()], 1))
        texts = [bytes(row.tolist()).rstrip(b"\0").decode() for row in rows.cond["text"]]
        assert texts == [f"r\u00e9d {n}" for n in level.tolist()]


def test_json_files_hold_labels_and_several_captions_of_an_image(tmp_path: Path) -> None:
    root = write_shards(tmp_path / "set", {"a": 30})
    names = ["red", "green", "blue"]
    data = TarShards(root, 8, "json.class", names, caption="json.captions", max_length=8)
    words = sorted(["red", *map(str, range(30))])  # each number stands in both captions of its image
    assert data.cond_spec == {"label": {"names": names}, "text": {"max_length": 8, "words": words, "max_words": 2}}
    assert sum(len(data.images(split)) for split in SPLITS) == 60
    seen: list[set[int]] = []
    for split in SPLITS:
        rows = data.images(split).all()
        level = rows.pixels[:, 0, 0, 0].long().tolist()
        texts = [bytes(row.tolist()).rstrip(b"\0").decode() for row in rows.cond["text"]]
        assert sorted(texts) == sorted(f"{word}{n}" for n in set(level) for word in ("", "red "))
        assert rows.cond["label"].tolist() == [n % 3 for n in level]
        seen.append(set(level))
    assert sum(map(len, seen)) == 30 == len(set.union(*seen))


def test_what_is_fixed_needs_no_files() -> None:
    assert TarShards("nowhere", 8, class_names=2).cond_spec == {"label": {"names": ["0", "1"]}}
    assert TarShards("nowhere", 8, None).cond_spec == {}
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nowhere; set data\.root"):
        _ = TarShards("nowhere", 8).cond_spec
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nowhere; set data\.root"):
        _ = TarShards("nowhere", 8, None, caption="txt").cond_spec


def test_words_of_captions_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_shards(tmp_path / "set", {"train-000": 6})
    spec = TarShards(root, 8, caption="txt").cond_spec
    monkeypatch.setattr("condgen.data.tar_shards.vocabulary", None)
    assert TarShards(root, 8, caption="txt").cond_spec == spec
    monkeypatch.undo()
    write_shards(tmp_path / "set", {"train-001": 1})
    assert TarShards(root, 8, caption="json.captions").cond_spec["text"]["words"] != spec["text"]["words"]
    assert isinstance(make_tokeniser(spec["text"], None), Words)


@pytest.mark.parametrize(
    ("shards", "counts"),
    [
        ({"train/000": 20, "val/000": 5, "test/000": 4}, [20, 5, 4]),
        ({"set-train-000": 20, "set-validation-000": 5}, [18, 5, 2]),
        ({"000": 20, "001": 10}, [24, 3, 3]),
    ],
)
def test_splits_are_those_of_names_and_folders(shards: dict[str, int], counts: list[int], tmp_path: Path) -> None:
    data = TarShards(write_shards(tmp_path / "test-set", shards), 8)
    assert [len(data.images(split)) for split in SPLITS] == counts
    everything = sorted(level for split in SPLITS for level in levels(data, split))
    assert everything == list(range(sum(shards.values())))
    other = TarShards(data.root, 8, split=RandomSplit(seed=1))
    assert (levels(other, "test") == levels(data, "test")) == ("test/000" in shards)


def test_one_shard_is_a_set_and_folders_of_members_belong_to_keys(tmp_path: Path) -> None:
    samples = {f"{folder}/x.y/{i}": sample(i + 10 * (folder == "b")) for folder in "ab" for i in range(10)}
    samples["a/x.y/0"]["seg.png"] = b"no image of the sample"
    data = TarShards(str(write_shard(tmp_path / "train-1.tar", samples)), 8)
    assert sorted(level for split in SPLITS for level in levels(data, split)) == list(range(20))


# ---------------------------------------------------------------------- order


def seen_by(loader: BatchLoader) -> list[list[tuple[int, int]]]:
    return [list(zip(b["pixels"][:, 0, 0, 0].tolist(), b["cond"]["label"].tolist(), strict=True)) for b in loader]


def test_two_processes_with_two_workers_see_each_sample_once_an_epoch(tmp_path: Path) -> None:
    """Shards that are streamed give the batches of a set in memory."""
    root = write_shards(tmp_path / "set", {"train-0": 17, "train-1": 23, "train-2": 10, "val-0": 4, "test-0": 4})
    sets = [TarShards(root, 8, cache_gib=limit).images("train") for limit in (8.0, 0.0)]

    def loaders(place: int, workers: int) -> list[BatchLoader]:
        settings: dict[str, Any] = {"shuffle": True, "world_size": 2, "workers": workers}
        return [BatchLoader(sets[place], 5, rank=rank, **settings) for rank in range(2)]

    in_memory, streamed, epochs = loaders(0, 0), loaders(1, 2), []
    for _ in range(10):
        expected, seen = ([seen_by(loader) for loader in both] for both in (in_memory, streamed))
        assert seen == expected
        assert sorted(s for batches in seen for batch in batches for s in batch) == [(n, n % 3) for n in range(50)]
        epochs.append(seen)
    assert all(a != b for a, b in pairwise(epochs))


@pytest.mark.parametrize(("cache_gib", "workers"), [(8.0, 0), (0.0, 0), (0.0, 2)])
def test_batches_go_on_in_mid_epoch(cache_gib: float, workers: int, tmp_path: Path) -> None:
    root = write_shards(tmp_path / "set", {"train-0": 20, "train-1": 20, "val-0": 4, "test-0": 4})
    check_resume(lambda: TarShards(root, 8, caption="txt", cache_gib=cache_gib, workers=workers, batch_size=10))


# ---------------------------------------------------------------------- cache


def test_what_is_beside_the_images_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_shards(tmp_path / "set", {"train-0": 30})
    first = TarShards(root, 8, caption="txt")
    before = first.images("train").all()
    with monkeypatch.context() as patch:
        patch.setattr(TarStore, "read", None)
        again = TarShards(root, 8, caption="txt")
        rows = again.images("train").all()
        assert again.fingerprint("train") == first.fingerprint("train")
    assert torch.equal(rows.pixels, before.pixels)
    assert all(torch.equal(rows.cond[key], before.cond[key]) for key in ("label", "text"))
    write_shard(tmp_path / "set" / "train-0.tar", {f"{i:04d}": sample(i, cls=b"0") for i in range(30)})
    assert TarShards(root, 8).cond_spec == {"label": {"names": ["0"]}}


# ---------------------------------------------------------------------- damage


def refused(tmp_path: Path, changed: Files, **settings: Any) -> str:
    root = tmp_path / "set"
    write_shard(root / "s-0.tar", {f"{i:04d}": sample(i) for i in range(20)} | {"0007": changed})
    with pytest.raises(ValueError, match=r"^sample s-0/0007 of ") as caught:
        TarShards(str(root), 8, **settings).prepare_data()
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"sample s-0/0007 of {root}: ")


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"png": None}, {}, "no image, but .cls, .json, .txt; images end in .bmp, "),
        ({"jpg": picture(1)}, {}, "two images, .jpg, .png, where there must be one"),
        ({"PNG": picture(1)}, {}, "there are two files .png"),
        ({"cls": None}, {}, "no .cls, but .json, .png, .txt"),
        ({"cls": b"3"}, {"class_names": 3}, "'cls' must be below 3, the number of class_names, got 3"),
        ({"cls": b"99999"}, {}, "'cls' must be below 20, the number of samples, got 99,999"),
        ({"cls": b"cat"}, {}, "'cls' must be a whole number of at least 0, got 'cat'"),
        ({"cls": b"-1"}, {}, "'cls' must be a whole number of at least 0, got '-1'"),
        ({"cls": b""}, {}, "'cls' must be a whole number of at least 0, got ''"),
        ({"txt": b"r\xe9d"}, {"caption": "txt"}, ".txt is not UTF-8: byte 0xe9 at position 1"),
        ({"txt": b" \n"}, {"caption": "txt"}, "'txt' must be a text, got ''"),
        ({"json": b"{"}, {"attributes": ["age"]}, ".json is malformed: "),
        ({"json": b"[1]"}, {"attributes": ["age"]}, ".json must be an object, got [1]"),
        ({"json": b'{"aged": 1}'}, {"attributes": ["age"]}, ".json has no field 'age'; did you mean 'aged'?"),
        ({"json": b'{"age": "old"}'}, {"attributes": ["age"]}, "'json.age' must be a finite number, true or false"),
        ({"json": b'{"class": true}'}, {"label": "json.class"}, "'json.class' must be a whole number of at least 0"),
    ],
)
def test_what_is_wrong_with_a_sample_names_it(
    changes: dict[str, bytes | None], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    assert refused(tmp_path, sample(7, **changes), **settings).startswith(message)


def test_damaged_images_are_named_or_left_out(tmp_path: Path) -> None:
    samples = {f"{i:04d}": sample(i) for i in range(30)} | {"0007": sample(7, png=picture(7)[:-9])}
    write_shard(tmp_path / "set" / "s-0.tar", samples)
    with pytest.raises(DamagedImagesError, match=r"s-0/0007.png in .*/s-0.tar: damaged"):
        TarShards(str(tmp_path / "set"), 8).prepare_data()
    data = TarShards(str(tmp_path / "set"), 8, on_error="skip")
    assert sorted(level for split in SPLITS for level in levels(data, split)) == sorted({*range(30)} - {7})


def test_what_is_wrong_with_shards_names_them(tmp_path: Path) -> None:
    def error(*shards: str, **settings: Any) -> str:
        root = tmp_path / "-".join(shards).replace("/", "_")
        with pytest.raises(ValueError, match=r"\A.*\Z") as caught:
            TarShards(write_shards(root, dict.fromkeys(shards, 9)), 8, **settings).prepare_data()
        return str(caught.value).replace(str(root), "ROOT")

    assert error("train-0", "more-0") == "shard more-0 of ROOT names no split, where train-0 does; rename it to train-…"
    assert error("val/train-0").startswith("shard val/train-0 of ROOT names two splits, train and val")
    assert error("val-0", "val-1") == "there are no training images, but only those for validation"
    assert error("train-1", class_names=4) == "class 3 of ROOT has no training images"
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.tar.gz").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"none holds no .tar files; unpack a.tar.gz to one"):
        TarShards(str(tmp_path / "none"), 8).prepare_data()
    for settings, match in (
        ({"label": None, "class_names": 3}, "class_names is given without label"),
        ({"class_names": 0}, "class_names must be names, or a number of at least 1, got 0"),
        ({"class_names": []}, "class_names must be names, or a number of at least 1"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=match):
            TarShards("set", 8, **settings)
