"""Images that a table names, with every kind of condition."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from image_files import check_resume, csv_text, palette, picture, shared_file, write, write_zip
from PIL import Image

from condgen.cli.data_config import data_module
from condgen.data import ImageTable, RandomSplit
from condgen.data.table_rows import read_table

COUNT = 40
SPLITS = ("train", "validation", "test")


def image_files() -> dict[str, bytes]:
    return {f"photos/{i:02d}.png": picture(i * 5) for i in range(COUNT)}


def level(pixels: torch.Tensor) -> list[int]:
    return (pixels[:, 0, 0, 0].int() // 5).tolist()


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., ImageTable]:
    """Writes 40 images, whose red tells their number, and a table of `rows`, CSV text or objects; opens them."""
    write(tmp_path, image_files())

    def make(rows: str | bytes | list[Any], **kwargs: Any) -> ImageTable:
        path = tmp_path / ("table.jsonl" if isinstance(rows, list) else "table.csv")
        text = rows if not isinstance(rows, list) else "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return ImageTable(str(path), 8, **{"batch_size": 8} | kwargs)

    return make


def full_rows() -> str:
    rows = [(f"photos/{i:02d}.png", ("cat", "dog")[i % 2], i / 4, ("true", "False")[i % 2]) for i in range(COUNT)]
    return csv_text([("file", "kind", "size", "tame"), *rows])


def test_labels_and_attributes_go_with_their_images(table: Callable[..., ImageTable]) -> None:
    data = table(full_rows(), label="kind", attributes=["size", "tame"])
    assert data.image_shape == (3, 8, 8)
    attributes = {"names": ["size", "tame"], "low": [0.0, 0.0], "high": [9.75, 1.0]}
    assert data.cond_spec == {"label": {"names": ["cat", "dog"]}, "attributes": attributes}
    seen = []
    for split, size in zip(SPLITS, (32, 4, 4), strict=True):
        rows = data.images(split).all()
        numbers = level(rows.pixels)
        assert len(numbers) == size
        assert rows.cond["label"].tolist() == [i % 2 for i in numbers]
        assert rows.cond["attributes"].tolist() == [[i / 4, (i + 1) % 2] for i in numbers]
        assert sum(i % 2 for i in numbers) == size // 2
        seen += numbers
    assert sorted(seen) == list(range(COUNT))


def test_every_layout_of_files_gives_the_same_rows(table: Callable[..., ImageTable], tmp_path: Path) -> None:
    def rows(data: ImageTable) -> list[tuple[list[int], list[int]]]:
        images = [data.images(split).all() for split in SPLITS]
        return [(level(image.pixels), image.cond["label"].tolist()) for image in images]

    long = rows(table(full_rows(), label="kind"))
    zipped = str(write_zip(tmp_path / "all.zip", image_files()))
    assert rows(table(full_rows(), label="kind", root=zipped)) == long
    short = full_rows().replace("photos/", "")
    assert rows(table(short, label="kind", root=zipped)) == long
    assert rows(table(short, label="kind", root=str(tmp_path / "photos"))) == long
    marked = b"\xef\xbb\xbf" + full_rows().replace("\n", "\r\n").encode()  # as spreadsheets save it
    assert rows(table(marked, label="kind")) == long
    objects = [{"file": f"./photos/{i:02d}.png", "kind": ("cat", "dog")[i % 2]} for i in range(COUNT)]
    assert rows(table(objects, label="kind")) == long
    (tmp_path / "table.tsv").write_text(full_rows().replace(",", "\t"))
    assert rows(ImageTable(str(tmp_path / "table.tsv"), 8, label="kind")) == long


def test_class_names_say_the_order_and_numbers_sort_by_size(table: Callable[..., ImageTable]) -> None:
    rows = [{"file": f"photos/{i:02d}.png", "n": i % 11} for i in range(33)]
    assert table(rows, label="n").cond_spec["label"]["names"] == [str(i) for i in range(11)]
    data = table(full_rows(), label="kind", class_names=["dog", "cat"])
    train = data.images("train").all()
    assert train.cond["label"].tolist() == [(i + 1) % 2 for i in level(train.pixels)]


def caption_rows() -> list[dict[str, Any]]:
    return [{"file": f"photos/{i:02d}.png", "texts": [f"{i} {w}" for w in ("ä", "b", "c")]} for i in range(COUNT)]


def texts(cond: dict[str, torch.Tensor]) -> list[str]:
    return [bytes(row).rstrip(b"\0").decode() for row in cond["text"].tolist()]


def test_captions_share_images_and_stay_in_one_split(table: Callable[..., ImageTable]) -> None:
    data = table(caption_rows(), caption="texts", max_length=6)
    words = sorted([*map(str, range(COUNT)), "ä", "b", "c"])
    assert data.cond_spec == {"text": {"max_length": 6, "words": words, "max_words": 2}}
    assert len(data.listing.columns["image"].places.unique()) == COUNT
    splits = [data.images(split).all() for split in SPLITS]
    assert [len(rows) for rows in splits] == [96, 12, 12]
    for rows in splits:
        assert sorted(texts(rows.cond)) == sorted(f"{i} {w}" for i in set(level(rows.pixels)) for w in "äbc")
    numbers = [set(level(rows.pixels)) for rows in splits]
    assert sum(map(len, numbers)) == COUNT
    lines = csv_text([("file", "text"), *((r["file"], text) for r in caption_rows() for text in r["texts"])])
    again = table(lines, caption="text", max_length=6)
    assert [texts(again.images(s).all().cond) for s in SPLITS] == [texts(rows.cond) for rows in splits]


def test_long_captions_are_cut_between_characters(
    table: Callable[..., ImageTable], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"file": f"photos/{i:02d}.png", "text": "aéß" if i % 2 else "ab"} for i in range(COUNT)]
    with caplog.at_level(logging.WARNING, "condgen"):
        data = table(rows, caption="text", max_length=4)
        data.prepare_data()
        found = {text for split in SPLITS for text in texts(data.images(split).all().cond)}
    assert found == {"ab", "aé"}
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.endswith("table.jsonl are cut to max_length 4 bytes; the longest has 5")
    assert line.startswith("20 of 40 captions of ")


def test_masks_and_sources_are_read_beside_the_image(table: Callable[..., ImageTable], tmp_path: Path) -> None:
    for i in range(COUNT):
        mask = np.arange(64).reshape(8, 8) % 4 == i % 4
        write(tmp_path, {f"masks/{i:02d}.png": palette(mask * 2), f"drawn/{i:02d}.png": picture(255 - i)})
    names = [[f"{kind}/{i:02d}.png" for kind in ("photos", "masks", "drawn")] for i in range(COUNT)]
    data = table(csv_text([("file", "mask", "from"), *names]), mask="mask", num_classes=3, source="from")
    assert data.cond_spec == {"source": {"channels": 3, "paired": True}, "mask": {"num_classes": 3}}
    rows = data.images("train").all()
    for place, i in enumerate(level(rows.pixels)):
        assert rows.cond["source"][place, 0].unique().tolist() == [255 - i]
        assert rows.cond["mask"][place].flatten().tolist() == [2 * (k % 4 == i % 4) for k in range(64)]


def split_rows(*words: str) -> list[dict[str, Any]]:
    return [{"file": f"photos/{i:02d}.png", "part": words[i % len(words)]} for i in range(COUNT)]


def test_splits_are_those_of_the_table(table: Callable[..., ImageTable]) -> None:
    data = table(split_rows("train", "val", "extra", "test"), split_column="part", ignore_splits=["extra"])
    for split, rest in zip(SPLITS, (0, 1, 3), strict=True):
        assert level(data.images(split).all().pixels) == list(range(rest, COUNT, 4))
    data = table(split_rows("train", "test"), split_column="part", split=RandomSplit(validation=0.2))
    assert level(data.images("test").all().pixels) == list(range(1, COUNT, 2))
    assert len(data.images("validation")) == 4
    assert all(i % 2 == 0 for i in level(data.images("validation").all().pixels))


def wrong_rows() -> list[tuple[str | bytes | list[Any], dict[str, Any], str]]:
    head, first = "file,kind,size\n", "photos/00.png,cat,1\n"
    good = {"file": "photos/00.png", "kind": "cat"}
    label, size, part = {"label": "kind"}, {"attributes": ["size"]}, {"split_column": "kind"}
    text = {"caption": "kind"}
    return [
        (head, {}, "{path} holds no rows"),
        ("", {}, "{path} line 1: no column 'file'; there are "),
        ([], {}, "{path} holds no rows"),
        (head + first, {"label": "knid"}, "line 1: no column 'knid'; did you mean 'kind'? there are file, kind, size"),
        ("file,kind,kind\n" + first, label, "line 1: column 'kind' appears twice"),
        (head + first + "photos/01.png,cat\n", {}, "line 3: 2 values, where the head names 3 columns"),
        (head + "photos/01.png,cat,1,5\n", {}, "line 2: 4 values, where the head names 3 columns; text that holds"),
        (head + 'photos/00.png,"cat\n\ndog",1\nphotos/01.png,"cat,1\n', label, "line 5: malformed row: unexpected end"),
        (head + first + "\nphotos/99.png,cat,1\n", {}, "line 4: 'file' names 'photos/99.png', which is no image file"),
        (head + "x/01.png,cat,1\n" * 2, {}, "it holds photos/01.png; so it is with 2 of 2 rows"),
        (head + first + "photos/01.png,,2\n", label, "line 3: 'kind' must be text or a whole number, got ''"),
        (head + first, label | {"class_names": ["Cat", "dog"]},
         "line 2: 'kind' 'cat' is not in class_names; did you mean 'Cat'? there are Cat, dog"),
        (head + first + "photos/01.png,cat,nan\n", size, "line 3: 'size' must be a finite number, true or false, got"),
        (head + "photos/01.png,cat,\n", size, "line 2: 'size' must be a finite number, true or false, got ''"),
        (head + "photos/01.png,cat,1e39\n", size, "line 2: 'size' must be a finite number"),
        (head + "photos/01.png,cat,big\n", size, "line 2: 'size' must be a finite number, true or false, got 'big'"),
        (head.encode() + b"photos/01.png,k\xe4fer,1\n", {},
         "line 2: byte 0xe4 at position 30 is not UTF-8; save the table as UTF-8"),
        (head + first, part, "line 2: 'kind' 'cat' is none of train, training, val, valid, validation, test; list it"),
        (head + "photos/01.png,,1\n", part, "line 2: 'kind' '' is none of train"),
        (head + "photos/01.png,x,1\n", part | {"ignore_splits": ["x"]}, "has no rows beside those of ignore_splits"),
        (head + "photos/01.png,train,1\nphotos/01.png,test,1\n", part,
         "line 3: 'photos/01.png' is for test, but for train in line 2"),
        (head + "photos/01.png,test,1\n", part, "there are no training images, but only those for test"),
        (head + "".join(f"photos/{i:02d}.png,{'cat' if i else 'dog'},1\n" for i in range(9)),
         label | {"class_names": ["cat", "dog", "eel"]}, "class eel of {path} has no training images"),
        ([good, {"file": "photos/01.png"}], label, "line 2: no column 'kind'; there is file"),
        ([good, [1, 2]], {}, "line 2: must be a JSON object such as {{\"file\": \"1.jpg\"}}, got [1, 2]"),
        ([good | {"kind": 0.5}], label, "line 1: 'kind' must be text or a whole number, got 0.5"),
        ([good | {"kind": []}], text, "line 1: 'kind' must be a text, got []"),
        ([good | {"kind": ["a", " "]}], text, "line 1: 'kind' must be a text, got ' '"),
        ([good | {"kind": "a\0b"}], text, "line 1: 'kind' must not hold a zero character"),
        ([good | {"kind": "\ud800"}], text, "line 1: 'kind' 'utf-8' codec can't encode"),
        ([good | {"kind": None}], {"attributes": ["kind"]}, "line 1: 'kind' must be a finite number"),
    ]  # fmt: skip


@pytest.mark.parametrize(("rows", "settings", "message"), wrong_rows())
def test_what_is_wrong_with_a_table_is_said_in_one_line(
    table: Callable[..., ImageTable], rows: Any, settings: dict[str, Any], message: str
) -> None:
    data = table(rows, **settings)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        data.listing  # noqa: B018
    assert message.format(path=data.table) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(data.table) in str(caught.value) or "training images" in message


def test_what_is_wrong_with_lines_of_json_is_said_in_one_line(tmp_path: Path) -> None:
    def error(text: str) -> str:
        (tmp_path / "t.jsonl").write_text(text)
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            read_table(tmp_path / "t.jsonl", ["file"])
        return str(caught.value)

    assert "t.jsonl line 3: malformed JSON: Expecting ',' delimiter" in error('{"file": 1}\n\n{"file": 1 "a": 2}\n')
    assert "t.jsonl line 1: malformed JSON: 'file' appears twice" in error('{"file": 1, "file": 2}')
    assert "t.jsonl line 1: malformed JSON: maximum recursion" in error("[" * 100_000)
    with pytest.raises(ValueError, match=r"t\.txt ends in \.txt; tables end in \.csv, \.tsv, \.jsonl, \.ndjson"):
        read_table(tmp_path / "t.txt", ["file"])
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.csv; set data\.table"):
        read_table(tmp_path / "none.csv", ["file"])


def test_senseless_arguments_are_refused_at_once() -> None:
    for settings, message in (
        ({"mask": "m"}, "mask and num_classes belong together"),
        ({"class_names": ["a"]}, "class_names is given without label"),
        ({"ignore_splits": ["a"]}, "ignore_splits is given without split_column"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            ImageTable("t.csv", 8, **settings)  # type: ignore[arg-type]


def test_damaged_files_fail_or_their_rows_are_left_out(table: Callable[..., ImageTable], tmp_path: Path) -> None:
    (tmp_path / "photos" / "07.png").write_bytes(picture(7)[:-20])
    with pytest.raises(ValueError, match=r"1 of 40 images of .* are damaged: .*07\.png: damaged.*; on_error skip"):
        table(caption_rows(), caption="texts").prepare_data()
    data = table(caption_rows(), caption="texts", on_error="skip")
    rows = [data.images(split).all() for split in SPLITS]
    assert sum(map(len, rows)) == 3 * (COUNT - 1)
    for part in rows:
        assert 7 not in level(part.pixels)
        assert [int(text.split()[0]) for text in texts(part.cond)] == level(part.pixels)


@pytest.mark.parametrize("cache_gib", [8.0, 0.0])
def test_it_resumes_in_mid_epoch(table: Callable[..., ImageTable], cache_gib: float) -> None:
    check_resume(lambda: table(caption_rows(), caption="texts", cache_gib=cache_gib, batch_size=40, workers=0))


def test_its_fingerprint_is_that_of_files_and_conditions(table: Callable[..., ImageTable], tmp_path: Path) -> None:
    def prints(rows: str) -> list[str]:
        data = table(rows, label="kind")
        return [data.fingerprint(split) for split in SPLITS]

    first = prints(full_rows())
    assert len(set(first)) == 3
    assert prints(full_rows()) == first
    assert all(a != b for a, b in zip(prints(full_rows().replace("cat", "dag").replace("dog", "cat")), first))  # noqa: B905
    (tmp_path / "photos" / "00.png").write_bytes(picture(255))
    assert prints(full_rows()) != first


def test_large_tables_are_read_fast(tmp_path: Path) -> None:
    rows = [(f"{i:06d}.jpg", *(-1 + 2 * (i >> k & 1) for k in range(8)), f"a caption of {i}") for i in range(60_000)]
    names = ["file", *(f"a{k}" for k in range(8)), "text"]
    (tmp_path / "t.csv").write_text(csv_text([names, *rows]))
    start = time.process_time()
    spec = ImageTable(str(tmp_path / "t.csv"), 8, attributes=names[1:9], caption="text").cond_spec
    assert spec["attributes"]["low"] == [-1.0] * 8
    assert time.process_time() - start < 6  # 1 s on a free core


def test_flickr8k_is_the_published_one() -> None:
    root = shared_file("FLICKR8K/flickr8k_64.zip")
    table = str(root.with_name("captions.jsonl"))
    data = data_module("data/flickr8k.yaml", ["--data.root", str(root), "--data.table", table])
    assert isinstance(data, ImageTable)
    assert [len(data.listing.splits[split]) for split in SPLITS] == [30000, 5000, 5000]
    row = next(row for row in map(json.loads, root.with_name("captions.jsonl").open()) if row["split"] == "test")
    test = data.images("test").take(torch.arange(6))
    assert texts(test.cond)[:5] == row["captions"]
    with ZipFile(root) as archive, archive.open(row["file"]) as file:
        published = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    assert all(torch.equal(pixels, published) for pixels in test.pixels[:5])
    assert not torch.equal(test.pixels[5], published)
