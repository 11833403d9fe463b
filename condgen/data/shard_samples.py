"""Samples of tar shards as WebDataset writes them: an image, and small files beside it that share its key."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from condgen.cache_root import kept
from condgen.data.archive_stores import TarStore
from condgen.data.decode import SUFFIXES
from condgen.data.splits import split_of
from condgen.data.table_rows import Table, one_of, unique

FIELD = "json."
"""Columns of this beginning are fields of the samples' JSON files; others are endings of files."""


class Sample(NamedTuple):
    """Files of a shard that share a key.

    Attributes:
        name: Shard and key, such as `train-000/0001`.
        files: Place of each file in the store, by its ending, such as `jpg`, `cls` or `seg.png`.
    """

    name: str
    files: dict[str, int]


@dataclass(frozen=True)
class Samples(Table):
    """Values that are beside the images, a row a sample; `lines` are the places of the samples.

    Args:
        names: Names of the samples.
    """

    names: list[str]

    def error(self, row: int, what: str) -> ValueError:
        """Say what is wrong with a sample."""
        return wrong(self.path, self.names[self.lines[row]], what)


class Shards(NamedTuple):
    """Tar shards, opened.

    Attributes:
        store: Their files, named `<shard>/<file>`, so that shards may use the same keys.
        names: Names of the shards: their paths in the root, without `.tar`.
        samples: What is in them.
    """

    store: TarStore
    names: list[str]
    samples: list[Sample]


def wrong(root: Path, name: str, what: str) -> ValueError:
    """Say what is wrong with a sample."""
    return ValueError(f"sample {name} of {root}: {what}")


def open_shards(root: Path) -> Shards:
    """Open a tar file, or all in a folder and its subfolders.

    Raises:
        ValueError: If there are none, or one is damaged or compressed.
    """
    files, names = find_shards(root)
    store = TarStore(root, files, names)
    if not store.names:
        raise ValueError(f"{root} holds no files")
    return Shards(store, names, find_samples(store))


def find_shards(root: Path) -> tuple[list[Path], list[str]]:
    """Return the tar files, and their names."""
    if not root.exists():
        raise FileNotFoundError(f"no file or folder {root.resolve()}; set data.root")
    if not root.is_dir():
        return [root], [root.stem]
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not hidden(path.relative_to(root))]
    shards = [path for path in files if path.suffix == ".tar"]
    if not shards:
        packed = next((path for path in files if ".tar" in path.suffixes or path.suffix == ".tgz"), None)
        raise ValueError(f"{root} holds no .tar files" + (f"; unpack {packed.name} to one" if packed else ""))
    return shards, [path.relative_to(root).with_suffix("").as_posix() for path in shards]


def hidden(path: Path) -> bool:
    """Tell whether a file, or a folder that it is in, is hidden."""
    return any(part.startswith(".") for part in path.parts)


def find_samples(store: TarStore) -> list[Sample]:
    """Put files together whose names are equal up to the first dot behind the folder.

    Raises:
        ValueError: If two files differ in nothing but capitals.
    """
    found: dict[str, dict[str, int]] = {}
    for place, name in enumerate(store.names):
        folder, _, base = name.rpartition("/")
        key, _, ending = base.partition(".")
        files = found.setdefault(f"{folder}/{key}", {})
        if files.setdefault(ending.lower(), place) != place:
            raise wrong(store.root, f"{folder}/{key}", f"there are two files .{ending.lower()}")
    return [Sample(name, files) for name, files in found.items()]


def image_of(root: Path, sample: Sample) -> int:
    """Return the place of a sample's image.

    Raises:
        ValueError: If it has none, or two.
    """
    images = [ending for ending in sample.files if f".{ending}" in SUFFIXES]
    if len(images) == 1:
        return sample.files[images[0]]
    if images:
        raise wrong(root, sample.name, f"two images, {dots(images[:2])}, where there must be one")
    raise wrong(root, sample.name, f"no image, but {dots(sample.files)}; images end in {dots(SUFFIXES)}")


def dots(endings: Sequence[str] | set[str] | dict[str, int]) -> str:
    """Write endings with their dots."""
    return ", ".join(sorted(f".{ending.removeprefix('.')}" for ending in endings))


def read_samples(shards: Shards, columns: Sequence[str]) -> Samples:
    """Read what is beside the images: once, and from the cache from then on.

    Args:
        shards: The shards.
        columns: Endings such as `cls`, whose values are the files' texts, or fields such as `json.age`.

    Raises:
        ValueError: If a file or a field is missing, or cannot be read.
    """
    store, _, samples = shards
    identity = str(store.root.resolve()), store.stamp, list(columns)
    rows = kept("samples", identity, lambda: [values_of(store, sample, columns) for sample in samples])
    values = {column: [row[place] for row in rows] for place, column in enumerate(columns)}
    return Samples(store.root, list(range(len(samples))), values, [sample.name for sample in samples])


def values_of(store: TarStore, sample: Sample, columns: Sequence[str]) -> list[Any]:
    """Read some values of a sample."""
    texts = {ending: text_of(store, sample, ending) for ending in {ending_of(column) for column in columns}}
    record = record_of(store, sample, texts["json"]) if "json" in texts else {}
    for column in columns:
        if column.startswith(FIELD) and column.removeprefix(FIELD) not in record:
            field = column.removeprefix(FIELD)
            raise wrong(store.root, sample.name, f".json has no field {field!r}; {one_of(field, list(record))}")
    return [record[column.removeprefix(FIELD)] if column.startswith(FIELD) else texts[column] for column in columns]


def ending_of(column: str) -> str:
    """Return the ending of the files that hold a column."""
    return "json" if column.startswith(FIELD) else column


def text_of(store: TarStore, sample: Sample, ending: str) -> str:
    """Read one of a sample's files as UTF-8, without space around it."""
    if ending not in sample.files:
        raise wrong(store.root, sample.name, f"no .{ending}, but {dots(sample.files)}")
    content = store.read(sample.files[ending])
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        byte = f"byte {content[error.start]:#04x} at position {error.start:,}"
        raise wrong(store.root, sample.name, f".{ending} is not UTF-8: {byte}") from error


def record_of(store: TarStore, sample: Sample, text: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        record = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise wrong(store.root, sample.name, f".json is malformed: {error}") from error
    if not isinstance(record, dict):
        raise wrong(store.root, sample.name, f".json must be an object, got {text[:40]}")
    return record


def split_words(shards: Sequence[str], root: Path) -> list[str]:
    """Find the word for each shard's split in its name or folder; all are `train` if none has one.

    Raises:
        ValueError: If a shard has words for two splits, or some have none.
    """
    words = []
    for shard in shards:
        found = {word for word in re.split("[^A-Za-z]+", shard) if split_of(word)}
        if len({split_of(word) for word in found}) > 1:
            raise ValueError(f"shard {shard} of {root} names two splits, {' and '.join(sorted(found))}; rename it")
        words.append(min(found, default=""))
    if not any(words):
        return ["train"] * len(shards)
    if "" in words:
        alone, other = shards[words.index("")], next(shard for shard, word in zip(shards, words, strict=True) if word)
        raise ValueError(f"shard {alone} of {root} names no split, where {other} does; rename it to train-…")
    return words
