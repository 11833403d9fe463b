"""The user's own images, listed in a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from condgen.data.augment import Augmentation
from condgen.data.base import Split
from condgen.data.image_folder import named_rows, open_images_in
from condgen.data.reading import MaskReading, Reading
from condgen.data.splits import NAMES, RandomSplit, check_trained, split_of
from condgen.data.stored import Column, Listing, OnError, StoredDataModule
from condgen.data.stores import Store
from condgen.data.table_conditions import one_per_caption, read_attributes, read_each, read_label, to_bytes, word
from condgen.data.table_rows import Table, read_table
from condgen.types import Condition, CondSpec
from condgen.words import vocabulary


class ImageTable(StoredDataModule):
    """Images that the rows of a table name, with conditions beside them: `.csv`, `.tsv` or `.jsonl`, in UTF-8.

    The first row of a `.csv` or `.tsv` file names the columns; a line of a `.jsonl` file is an object. Files are named
    as in `root`, or in the folder that holds all of its images. Splits that the table does not give are cut out of
    the training rows, each class in proportion, and rows of one image stay together.

    Args:
        table: The table.
        image_size: Height and width that all images are brought to.
        root: Folder, zip file, tar file or folder of tar files that holds the images; the table's folder by default.
        file: Column of the images' file names.
        label: Column of classes: names or whole numbers.
        class_names: Classes in the order of their labels; null for those found, sorted.
        attributes: Columns of numbers, or of true and false.
        caption: Column of captions; a JSON list holds several, and makes a row of each.
        max_length: Bytes of a caption, in UTF-8; longer ones are cut, with a warning.
        mask: Column of file names of masks: palette or grey, a class per pixel.
        num_classes: Classes of the masks.
        source: Column of file names of images to translate.
        split_column: Column that says train, val or test.
        ignore_splits: Other words in that column, whose rows are left out.
        grey: Read grey levels in place of colours.
        crop: Cut the largest square out of the middle; squeeze the whole picture if false.
        split: How splits that are not given are cut out.
        on_error: What to do if files are damaged: `fail` names them, `skip` leaves them out.
        cache_gib: Size in GiB up to which decoded pixels are kept on disk, for all runs.
        workers: Processes that read batches of a larger set ahead.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    def __init__(
        self,
        table: str,
        image_size: int,
        root: str | None = None,
        file: str = "file",
        label: str | None = None,
        class_names: list[str] | None = None,
        attributes: list[str] | None = None,
        caption: str | None = None,
        max_length: int = 128,
        mask: str | None = None,
        num_classes: int | None = None,
        source: str | None = None,
        split_column: str | None = None,
        ignore_splits: list[str] | None = None,
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
        if (mask is None) != (num_classes is None):
            raise ValueError("mask and num_classes belong together: a column of masks, and the number of their classes")
        for name, needed, given in (
            ("class_names", "label", class_names and label is None),
            ("ignore_splits", "split_column", ignore_splits and split_column is None),
        ):
            if given:
                raise ValueError(f"{name} is given without {needed}")
        if max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}")
        self.table = Path(table)
        self.root = self.table.parent if root is None else Path(root)
        self.file, self.label, self.class_names, self.attributes = file, label, class_names, attributes or []
        self.caption, self.max_length = caption, max_length
        self.mask, self.source = mask, source
        self.split_column, self.ignore_splits, self.split = split_column, ignore_splits or [], split
        self.reading = Reading(image_size, 1 if grey else 3, crop)
        self.mask_reading = MaskReading(image_size, crop=crop, num_classes=num_classes or 1)
        self.image_shape = self.reading.shape

    @cached_property
    def rows(self) -> Table:
        """The table's rows, one for each caption."""
        single = self.file, self.label, self.caption, self.mask, self.source, self.split_column
        wanted = [name for name in single if name is not None] + self.attributes
        table = read_table(self.table, list(dict.fromkeys(wanted)))
        if self.split_column is not None:
            table = known_splits(table, self.split_column, self.ignore_splits)
        return table if self.caption is None else one_per_caption(table, self.caption)

    @cached_property
    def cond_spec(self) -> CondSpec:  # type: ignore[override]
        """What the table offers; no image is looked for."""
        return self._conditions[1]

    @cached_property
    def _conditions(self) -> tuple[Condition, CondSpec]:
        cond: Condition = {}
        spec: CondSpec = {}
        if self.label is not None:
            cond["label"], names = read_label(self.rows, self.label, self.class_names)
            spec["label"] = {"names": names}
        if self.attributes:
            values = cond["attributes"] = read_attributes(self.rows, self.attributes)
            low, high = values.amin(0).tolist(), values.amax(0).tolist()
            spec["attributes"] = {"names": list(self.attributes), "low": low, "high": high}
        if self.caption is not None:
            texts = self.rows.columns[self.caption]
            cond["text"] = to_bytes(texts, self.max_length, str(self.table))
            words, longest = vocabulary(texts)
            spec["text"] = {"max_length": self.max_length, "words": words, "max_words": longest}
        if self.source is not None:
            spec["source"] = {"channels": self.reading.channels, "paired": True}
        if self.mask is not None:
            spec["mask"] = {"num_classes": self.mask_reading.num_classes}
        return cond, spec

    def list_rows(self) -> Listing:
        """List all rows, with the places of their files."""
        cond, spec = self._conditions
        wanted = ("image", self.file, self.reading), ("source", self.source, self.reading)
        files = [*wanted, ("mask", self.mask, self.mask_reading)]
        store, names = files_by_name(self.root)
        columns = {
            key: Column(store, find_files(self.rows, column, names, self.root), reading)
            for key, column, reading in files
            if column is not None
        }
        groups = columns["image"].places
        label = cond.get("label", torch.zeros(len(groups), dtype=torch.int64))
        splits = self.split.complete(self.given_splits(groups), label, groups)
        if "label" in spec:
            check_trained(label[splits["train"]], spec["label"]["names"], str(self.table))
        return Listing(columns, cond, splits)

    def given_splits(self, groups: Tensor) -> dict[Split, Tensor]:
        """Return the places of each split's rows that the table gives.

        Args:
            groups: (N,) int64, the image of each row.

        Raises:
            ValueError: If an image is in two of them.
        """
        if self.split_column is None:
            return {"train": torch.arange(len(groups))}
        words = self.rows.columns[self.split_column]
        first: dict[int, int] = {}
        for row, image in enumerate(groups.tolist()):
            other = first.setdefault(image, row)
            if split_of(words[other]) != split_of(words[row]):
                what = f"{self.rows.columns[self.file][row]!r} is for {words[row]}, but for {words[other]} in line"
                raise self.rows.error(row, f"{what} {self.rows.lines[other]}")
        return named_rows(words)


def known_splits(table: Table, column: str, ignored: Sequence[str]) -> Table:
    """Leave out rows of splits that are ignored.

    Raises:
        ValueError: If another row's word names no split, or no rows are left.
    """
    words = read_each(table, column, lambda value: "" if value in (None, "") else word(value))
    rows = [row for row, name in enumerate(words) if name not in ignored]
    for row in rows:
        if split_of(words[row]) is None:
            remedy = "list it in ignore_splits to leave such rows out"
            raise table.error(row, f"{column!r} {words[row]!r} is none of {', '.join(NAMES)}; {remedy}")
    if not rows:
        raise ValueError(f"{table.path} has no rows beside those of ignore_splits")
    return table.take(rows)


def files_by_name(root: Path) -> tuple[Store, dict[str, int]]:
    """Open a store; return it and the places of its images by name: the whole, or that below the folder of all."""
    store, places = open_images_in(root)
    names = [store.names[place] for place in places]
    inner = len(os.path.commonpath([os.path.dirname(name) for name in names]))
    short = {name[inner:].removeprefix("/"): place for name, place in zip(names, places, strict=True)}
    return store, short | dict(zip(names, places, strict=True))


def find_files(table: Table, column: str, names: dict[str, int], root: Path) -> Tensor:
    """Return the places (N,) int64 of the files that a column names.

    Raises:
        ValueError: If there is no such file; the first is named, and what may be meant.
    """
    wanted = [name.removeprefix("./") for name in read_each(table, column, word)]
    absent = [row for row, name in enumerate(wanted) if name not in names]
    if absent:
        name = wanted[absent[0]]
        ending = f"/{os.path.basename(name)}"
        meant = next(
            (f"it holds {other}" for other in names if other.endswith(ending)), "names are relative to data.root"
        )
        more = f"; so it is with {len(absent):,} of {len(table):,} rows" if len(absent) > 1 else ""
        raise table.error(absent[0], f"{column!r} names {name!r}, which is no image file in {root}; {meant}{more}")
    return torch.tensor([names[name] for name in wanted])
