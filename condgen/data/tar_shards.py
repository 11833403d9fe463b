"""Tar shards in WebDataset's layout, with conditions beside the images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condgen.cache_root import kept
from condgen.data.augment import Augmentation
from condgen.data.image_folder import named_rows
from condgen.data.reading import Reading
from condgen.data.shard_samples import FIELD, Shards, image_of, open_shards, read_samples, split_words
from condgen.data.splits import RandomSplit, check_trained
from condgen.data.stored import Column, Listing, OnError, StoredDataModule
from condgen.data.table_conditions import one_per_caption, read_attributes, read_each, to_bytes
from condgen.data.table_rows import Table
from condgen.types import Condition, CondSpec
from condgen.words import vocabulary


class TarShards(StoredDataModule):
    """Images in tar shards: members that share a key, their name up to the first dot, make a sample.

    Each sample has one image of any of condgen's formats, and what is read beside it: `0001.jpg`, `0001.cls`,
    `0001.txt`, `0001.json`. Shards are read in place, in any order of samples. A word of a shard's name, or its
    folder, says its split: `train-000.tar`, `val-000.tar`, `test/000.tar`; splits that are not given are cut out of the
    training samples, each class in proportion, and captions of one image stay together.

    Args:
        root: The folder of the shards, or one shard; compressed ones must be unpacked to .tar.
        image_size: Height and width that all images are brought to.
        label: Ending of the files that hold the number of the class, or field of the JSON files: `json.FIELD`; null
            for none.
        class_names: Names of the classes, or how many there are; null for all up to the largest number found.
        attributes: Fields of the JSON files that are numbers, or true and false.
        caption: Ending of the files that hold the caption, such as `txt`, or field of the JSON files, `json.FIELD`; a
            field may be a list of captions, and makes a row of each.
        max_length: Bytes of a caption, in UTF-8; longer ones are cut, with a warning.
        grey: Read grey levels in place of colours.
        crop: Cut the largest square out of the middle; squeeze the whole picture if false.
        split: How splits that are not given are cut out.
        on_error: What to do if images are damaged: `fail` names them, `skip` leaves them out.
        cache_gib: Size in GiB up to which decoded pixels are kept on disk, for all runs.
        workers: Processes that read batches of a larger set ahead.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    def __init__(
        self,
        root: str,
        image_size: int,
        label: str | None = "cls",
        class_names: list[str] | int | None = None,
        attributes: list[str] | None = None,
        caption: str | None = None,
        max_length: int = 128,
        grey: bool = False,
        crop: bool = True,
        split: RandomSplit = RandomSplit(),  # noqa: B008 - it is frozen
        on_error: OnError = "fail",
        cache_gib: float = 8.0,
        workers: int = 2,
        batch_size: int = 64,
        eval_batch_size: int = 500,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(on_error, cache_gib, workers, batch_size, eval_batch_size, augment)
        if label is None and class_names is not None:
            raise ValueError("class_names is given without label")
        if class_names in (0, []) or (isinstance(class_names, int) and class_names < 0):
            raise ValueError(f"class_names must be names, or a number of at least 1, got {class_names}")
        if max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}")
        self.root = Path(root)
        self.label, self.attributes, self.caption = label, attributes or [], caption
        self.class_names = [str(n) for n in range(class_names)] if isinstance(class_names, int) else class_names
        self.max_length = max_length
        self.split = split
        self.reading = Reading(image_size, 1 if grey else 3, crop)
        self.image_shape = self.reading.shape

    @cached_property
    def cond_spec(self) -> CondSpec:  # type: ignore[override]
        """What is beside the images; read from files, but for `class_names` that are given."""
        spec: CondSpec = {}
        if self.label is not None:
            names = self.class_names or [str(number) for number in range(int(self.cond["label"].max()) + 1)]
            spec["label"] = {"names": list(names)}
        if self.attributes:
            values = self.cond["attributes"]
            low, high = values.amin(0).tolist(), values.amax(0).tolist()
            spec["attributes"] = {"names": list(self.attributes), "low": low, "high": high}
        if self.caption is not None:
            words, longest = self._vocabulary(self.caption)
            spec["text"] = {"max_length": self.max_length, "words": words, "max_words": longest}
        return spec

    def _vocabulary(self, caption: str) -> tuple[list[str], int]:
        """Return the words of all captions, counted once, and from the cache from then on."""
        store = self.shards.store
        identity = str(store.root.resolve()), store.stamp, caption
        words, longest = kept("words", identity, lambda: vocabulary(self.rows.columns[caption]))
        return words, longest

    @cached_property
    def shards(self) -> Shards:
        """The shards, and the samples in them."""
        return open_shards(self.root)

    @cached_property
    def rows(self) -> Table:
        """What is beside the images, a row for each caption."""
        fields = [FIELD + name for name in self.attributes]
        columns = [name for name in (self.label, self.caption) if name is not None] + fields
        table = read_samples(self.shards, list(dict.fromkeys(columns)))
        return table if self.caption is None else one_per_caption(table, self.caption)

    @cached_property
    def cond(self) -> Condition:
        """All conditions, a row for each caption."""
        cond: Condition = {}
        if self.label is not None:
            cond["label"] = read_class(self.rows, self.label, self.class_names)
        if self.attributes:
            cond["attributes"] = read_attributes(self.rows, [FIELD + name for name in self.attributes])
        if self.caption is not None:
            cond["text"] = to_bytes(self.rows.columns[self.caption], self.max_length, str(self.root))
        return cond

    def list_rows(self) -> Listing:
        """List all samples, with what is beside their images."""
        store, shards, samples = self.shards
        words = split_words(shards, self.root)
        images = torch.tensor([image_of(self.root, sample) for sample in samples])
        places = images[torch.tensor(self.rows.lines)]
        given = named_rows([words[store.archive_of(place)] for place in places.tolist()])
        label = self.cond.get("label", torch.zeros(len(places), dtype=torch.int64))
        splits = self.split.complete(given, label, places)
        if self.label is not None:
            check_trained(label[splits["train"]], self.cond_spec["label"]["names"], str(self.root))
        return Listing({"image": Column(store, places, self.reading)}, self.cond, splits)


def read_class(table: Table, column: str, class_names: Sequence[str] | None) -> Tensor:
    """Return the number of the class (N,) int64 of each row.

    Args:
        table: The rows.
        column: Which column holds it.
        class_names: Names of the classes; null for as many as are there.

    Raises:
        ValueError: If one is no whole number, or there is no such class.
    """
    numbers = read_each(table, column, whole_number)
    known = len(numbers) if class_names is None else len(class_names)
    for row, number in enumerate(numbers):
        if number >= known:
            why = "samples" if class_names is None else "class_names"
            raise table.error(row, f"{column!r} must be below {known:,}, the number of {why}, got {number:,}")
    return torch.tensor(numbers)


def whole_number(value: Any) -> int:
    """Read a whole number of at least 0."""
    if isinstance(value, bool) or not (text := str(value)).isdecimal():
        raise ValueError(f"must be a whole number of at least 0, got {value!r}")
    return int(text)
