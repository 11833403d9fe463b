"""The user's own pairs of images: what to translate, and what it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from condgen.data.augment import Augmentation
from condgen.data.image_folder import given_splits, inner_names, named_rows, open_images_in
from condgen.data.reading import Half, MaskReading, Reading
from condgen.data.splits import RandomSplit, split_of
from condgen.data.stored import Column, Listing, OnError, StoredDataModule
from condgen.types import CondSpec

Direction = Literal["left_to_right", "right_to_left"]
HALVES: dict[Direction | None, tuple[Half | None, Half | None]] = {
    None: (None, None),
    "left_to_right": ("left", "right"),
    "right_to_left": ("right", "left"),
}
"""The halves of a picture that are source and target."""


class PairedFolder(StoredDataModule):
    """Pairs of images: files of equal names, but for their endings, in two folders, or halves of one picture.

    Two folders: `{train,val,test}/<source>/1.png` with `{train,val,test}/<target>/1.jpg`, `<source>/train/1.png` with
    `<target>/train/1.jpg`, or `<source>/1.png` with `<target>/1.jpg`. One picture: `{train,val,test}/1.jpg` or `1.jpg`,
    as pix2pix has them. All in a folder, a zip file, a tar file or a folder of tar files. Splits that are not given as
    folders are cut out of the training pairs.

    Args:
        root: The folder or the archive.
        image_size: Height and width that all images are brought to.
        source: Folder of the images to translate; null for halves.
        target: Folder of what they become; null for halves.
        direction: Which half of each picture becomes the other; null for two folders.
        num_classes: Classes of the source, if it is a mask: palette or grey, a class per pixel.
        grey: Read grey levels in place of colours.
        crop: Cut the largest square out of the middle; squeeze the whole picture if false.
        split: How splits that are not given are cut out.
        on_error: What to do if files are damaged: `fail` names them, `skip` leaves their pairs out.
        cache_gib: Size in GiB up to which decoded pixels are kept on disk, for all runs.
        workers: Processes that read batches of a larger set ahead.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches, source and target in the same way.
    """

    def __init__(
        self,
        root: str,
        image_size: int,
        source: str | None = None,
        target: str | None = None,
        direction: Direction | None = None,
        num_classes: int | None = None,
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
        if {source is None, target is None} != {direction is not None} or (source is not None and source == target):
            raise ValueError("give either source and target, the names of two folders, or direction")
        self.root = Path(root)
        self.folders = (source, target) if source is not None and target is not None else None
        self.split = split
        channels, (first, second) = 1 if grey else 3, HALVES[direction]
        self.reading = Reading(image_size, channels, crop, second)
        self.image_shape = self.reading.shape
        if num_classes is None:
            self.condition = "source"
            self.source_reading = Reading(image_size, channels, crop, first)
            self.cond_spec: CondSpec = {"source": {"channels": channels, "paired": True}}
        else:
            self.condition = "mask"
            self.source_reading = MaskReading(image_size, crop=crop, half=first, num_classes=num_classes)
            self.cond_spec = {"mask": {"num_classes": num_classes}}

    def list_rows(self) -> Listing:
        """List all pairs."""
        store, places = open_images_in(self.root)
        names = inner_names([store.names[place] for place in places])
        if self.folders is None:
            words, sources, targets = splits_only(names, self.root), places, places
        else:
            words, rows = pair_up(names, *self.folders, self.root)
            sources, targets = ([places[pair[side]] for pair in rows] for side in (0, 1))
        columns = {
            "image": Column(store, torch.tensor(targets), self.reading),
            self.condition: Column(store, torch.tensor(sources), self.source_reading),
        }
        strata = torch.zeros(len(words), dtype=torch.int64)
        return Listing(columns, {}, self.split.complete(named_rows(words), strata))


def splits_only(names: list[str], root: Path) -> list[str]:
    """Return the word for each picture's split; all are `train` where none is given.

    Raises:
        ValueError: If some lie in folders of splits, and others do not.
    """
    words, inner = given_splits(names)
    if inner == names and (given := {name.split("/")[0] for name in names if split_of(name.split("/")[0])}):
        other = next(name for name in names if name.split("/")[0] not in given)
        raise ValueError(f"{root} has folders {', '.join(sorted(given))}, and {other} beside them")
    return words


def pair_up(names: list[str], source: str, target: str, root: Path) -> tuple[list[str], list[tuple[int, int]]]:
    """Return the word for each pair's split, and the places of its two names.

    Raises:
        ValueError: If a file has no partner; the first is named.
    """
    found: dict[str, dict[tuple[str, str], int]] = {source: {}, target: {}}
    for folder, keys in found.items():
        for place, name in enumerate(names):
            if (key := key_in(folder, name)) is None:
                continue
            if key in keys:
                raise ValueError(f"{root} holds {names[keys[key]]} and {name}: which is one of a pair?")
            keys[key] = place
        if not keys:
            there = ", ".join(sorted({part for name in names for part in name.split("/")[:-1]})[:10]) or "none"
            raise ValueError(f"no images in a folder {folder} of {root}; folders are {there}")
    for folder, other in ((source, target), (target, source)):
        if alone := sorted(found[folder].keys() - found[other].keys()):
            name, what = names[found[folder][alone[0]]], "pairs are files of equal names, but for their endings"
            more = f" ({len(alone):,} such files)" if len(alone) > 1 else ""
            raise ValueError(f"{name} in {root} has no partner in {other}{more}; {what}")
    pairs = sorted(found[source])
    return [word for word, _ in pairs], [(found[source][key], found[target][key]) for key in pairs]


def key_in(folder: str, name: str) -> tuple[str, str] | None:
    """Return the word for a file's split, `train` by default, and its name in a folder without ending; None outside."""
    parts = name.split("/")
    if folder not in parts[:-1][:2]:
        return None
    parts.remove(folder)
    word = parts.pop(0) if len(parts) > 1 and split_of(parts[0]) else "train"
    return word, "/".join(parts).rpartition(".")[0]
