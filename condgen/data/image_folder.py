"""The user's own images in folders."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from condgen.data.archive_stores import open_store
from condgen.data.augment import Augmentation
from condgen.data.base import Split
from condgen.data.decode import SUFFIXES
from condgen.data.folder_images import class_of_each
from condgen.data.reading import Reading
from condgen.data.splits import RandomSplit, check_trained, split_of
from condgen.data.stored import Column, Listing, OnError, StoredDataModule
from condgen.data.stores import Store
from condgen.types import CondSpec


class ImageFolder(StoredDataModule):
    """Images in class folders, `<class>/*.jpg` or `{train,val,test}/<class>/*.jpg`; in flat folders without labels.

    Any of condgen's image formats, in a folder, a zip file, a tar file or a folder of tar files. Splits that are not
    given as folders are cut out of the training images, each class in proportion.

    Args:
        root: The folder or the archive.
        image_size: Height and width that all images are brought to.
        class_names: Classes to read, in the order of their labels; null for all, sorted.
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
        root: str,
        image_size: int,
        class_names: list[str] | None = None,
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
        self.root = Path(root)
        self.class_names = class_names
        self.split = split
        self.reading = Reading(image_size, 1 if grey else 3, crop)
        self.image_shape = self.reading.shape

    @cached_property
    def files(self) -> Files:
        """The files, by their places in the store."""
        return find_files(open_store(self.root), self.class_names)

    @cached_property
    def cond_spec(self) -> CondSpec:  # type: ignore[override]
        """What the folders are called; nothing is decoded for it."""
        names = self.class_names or sorted(set(self.files.classes or []))
        return {"label": {"names": list(names)}} if names else {}

    def list_rows(self) -> Listing:
        """List all files, with the places of their classes' names."""
        files, names = self.files, self.cond_spec.get("label", {}).get("names", [])
        number = {name: place for place, name in enumerate(names)}
        label = torch.tensor([number[name] for name in files.classes] if files.classes else [0] * len(files.places))
        splits = self.splits(named_rows(files.splits), label)
        check_trained(label[splits["train"]], names, str(self.root))
        column = Column(files.store, torch.tensor(files.places), self.reading)
        return Listing({"image": column}, {"label": label} if names else {}, splits)

    def splits(self, given: dict[Split, Tensor], label: Tensor) -> dict[Split, Tensor]:
        """Return the places of each split's rows, from those that folders give."""
        return self.split.complete(given, label)


class Files(NamedTuple):
    """Images of a store: their places, the word for the split of each, and its class where there are classes."""

    store: Store
    places: list[int]
    splits: list[str]
    classes: list[str] | None


def find_files(store: Store, class_names: list[str] | None) -> Files:
    """List the images of a store, of some classes or all.

    Raises:
        ValueError: If there are none, or no folders of classes where these are named.
    """
    places = images_in(store)
    splits, names = given_splits(inner_names([store.names[place] for place in places]))
    classes = class_of_each(names, store.root)
    if class_names is None:
        return Files(store, places, splits, classes)
    rows = [row for row in zip(places, splits, classes or [], strict=False) if row[2] in class_names]
    if absent := sorted(set(class_names) - {name for _, _, name in rows}):
        raise ValueError(f"no images of class {absent[0]} in {store.root}")
    return Files(store, [place for place, _, _ in rows], [word for _, word, _ in rows], [name for _, _, name in rows])


def open_images_in(root: Path) -> tuple[Store, list[int]]:
    """Open a store; return it and the places of its images.

    Raises:
        ValueError: If it holds none.
    """
    store = open_store(root)
    return store, images_in(store)


def images_in(store: Store) -> list[int]:
    """Return the places of a store's images.

    Raises:
        ValueError: If it holds none.
    """
    places = [place for place, name in enumerate(store.names) if os.path.splitext(name)[1].lower() in SUFFIXES]
    if not places:
        what = f"no images, but {store.names[0]}" if store.names else "no files"
        raise ValueError(f"{store.root} holds {what}; images end in {', '.join(sorted(SUFFIXES))}")
    return places


def inner_names(names: list[str]) -> list[str]:
    """Leave out folders that hold everything, but no class's own: `photos/cat/1.jpg` is `cat/1.jpg`."""
    while True:
        first, depth = names[0].partition("/")[0], min(name.count("/") for name in names)
        if depth < 2 or split_of(first) or not all(name.startswith(f"{first}/") for name in names):
            return names
        names = [name.partition("/")[2] for name in names]


def given_splits(names: list[str]) -> tuple[list[str], list[str]]:
    """Return the word for each file's split, and its name inside the split; all are `train` where none is given."""
    words = [name.partition("/")[0] for name in names]
    if all(split_of(word) for word in set(words)) and all("/" in name for name in names):
        return words, [name.partition("/")[2] for name in names]
    return ["train"] * len(names), names


def named_rows(words: list[str]) -> dict[Split, Tensor]:
    """Return the places of the rows of each split, by a word for each row.

    Raises:
        ValueError: If a word names no split, or none is for training.
    """
    rows: dict[Split, list[int]] = {}
    for place, word in enumerate(words):
        split = split_of(word)
        if split is None:
            raise ValueError(f"{word!r} names no split; splits are train, val and test")
        rows.setdefault(split, []).append(place)
    if "train" not in rows:
        raise ValueError(f"there are no training images, but only those for {', '.join(rows)}")
    return {split: torch.tensor(places) for split, places in rows.items()}
