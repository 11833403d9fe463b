"""Data sets made of image files: rows that name files and hold conditions, decoded once or read when asked for."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from condgen.data.augment import Augmentation
from condgen.data.base import ImageDataModule, Split
from condgen.data.decoded import Decoded, Pictures, open_decoded
from condgen.data.fingerprint import hash_values
from condgen.data.images import Images, ImageSet, Part
from condgen.data.reading import MaskReading, Reading
from condgen.data.sources import DamagedImagesError, damage_line
from condgen.data.stores import Store
from condgen.types import Condition

log = logging.getLogger("condgen")
OnError = Literal["fail", "skip"]


@dataclass(frozen=True)
class Column:
    """A file for each row, and how it is read.

    Args:
        store: Where the files are.
        places: (N,) int64, the file of each row; several rows may share one.
        reading: How they are read.
    """

    store: Store
    places: Tensor
    reading: Reading


@dataclass(frozen=True)
class Listing:
    """All rows of a data set, before any image is read.

    Args:
        columns: Files by what they are: `image`, and the conditions that are pictures or masks.
        cond: The other conditions, N rows each.
        splits: Places (M,) int64 of each split's rows.
    """

    columns: Mapping[str, Column]
    cond: Condition
    splits: Mapping[Split, Tensor]


@dataclass(frozen=True)
class StoredImages(Images):
    """Rows whose pictures are decoded once, or whenever they are asked for.

    Args:
        columns: Pictures by what they are, and the place (N,) int64 of each row's among them.
        cond: The other conditions, N rows each.
    """

    columns: Mapping[str, tuple[Decoded, Tensor]]
    cond: Condition

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.columns["image"][1])

    def take(self, index: Tensor) -> ImageSet:
        """Return the rows at `index` (M,) int64."""
        found = {name: decoded.take(places[index]) for name, (decoded, places) in self.columns.items()}
        pixels = found.pop("image")
        if "mask" in found:
            found["mask"] = found["mask"].squeeze(1)
        return ImageSet(pixels, {**found, **{key: value[index] for key, value in self.cond.items()}})


class StoredDataModule(ImageDataModule):
    """A data set of image files in a folder, a zip file or tar files.

    At the first start all files are read, in parallel, so that damaged ones are known by name. Pixels are kept in an
    array file in the cache (`~/.cache/condgen`, or `CONDGEN_CACHE`) that later runs and all processes map. A set that
    would take more than `cache_gib` stays as it is, and `workers` processes read and decode each batch ahead.

    Args:
        on_error: What to do if files are damaged: `fail` names them, `skip` leaves their rows out and names them.
        cache_gib: Size in GiB up to which decoded pixels are kept.
        workers: Processes that read batches of a larger set ahead.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    def __init__(
        self,
        on_error: OnError,
        cache_gib: float,
        workers: int,
        batch_size: int,
        eval_batch_size: int,
        augment: Augmentation | None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, augment)
        if workers < 0 or cache_gib < 0:
            name, value = ("workers", workers) if workers < 0 else ("cache_gib", cache_gib)
            raise ValueError(f"{name} must be at least 0, got {value}")
        self.on_error = on_error
        self.cache_gib = cache_gib
        self._wanted_workers = workers

    @abstractmethod
    def list_rows(self) -> Listing:
        """List all rows; no image is read."""

    @cached_property
    def listing(self) -> Listing:
        """All rows, before any image is read."""
        return self.list_rows()

    def prepare_data(self) -> None:
        """Read all images once per machine, if they are not known yet."""
        self._opened(say=True)

    def load(self, split: Split) -> Images:
        """Return one split's rows, without those of damaged files."""
        return self.part(split)

    def part(self, split: Split) -> Part:
        """Return one split's rows, by their places in the listing, without those of damaged files."""
        listing, opened = self.listing, self._opened()
        whole = torch.ones(len(listing.columns["image"].places), dtype=torch.bool)
        columns = {}
        for name, decoded in opened.items():
            files = decoded.pictures.places
            columns[name] = decoded, torch.searchsorted(files, listing.columns[name].places)
            damaged = torch.tensor(sorted(decoded.card.damaged), dtype=torch.int64)
            whole &= ~torch.isin(columns[name][1], damaged)
        places = listing.splits[split]
        if not len(places := places[whole[places]]):
            raise ValueError(f"{type(self).__name__} has no {split} images")
        rows = StoredImages(columns, listing.cond)
        self.workers = self._wanted_workers if any(d.array is None for d in opened.values()) else 0
        return Part(rows, places)

    def hash_split(self, split: Split) -> str:
        """Hash the files' content, how they are read, and the rows."""
        listing, opened = self.listing, self._opened()
        parts: list[object] = [(name, d.card.content, d.pictures.reading.key) for name, d in sorted(opened.items())]
        rows = {name: column.places for name, column in listing.columns.items()} | dict(listing.cond)
        return hash_values(parts, {name: value[listing.splits[split]] for name, value in rows.items()})

    def _opened(self, say: bool = False) -> dict[str, Decoded]:
        if self._decoded is None:
            opened = {name: self._open(name, column, say) for name, column in self.listing.columns.items()}
            self._decoded = opened
        return self._decoded

    _decoded: dict[str, Decoded] | None = None

    def _open(self, name: str, column: Column, say: bool) -> Decoded:
        files = Pictures(column.store, column.places.unique(), column.reading)
        title = f"{'masks' if isinstance(column.reading, MaskReading) else 'images'} of {column.store.root}"
        decoded = open_decoded(files, self.cache_gib, f"reading {title}" if say else None)
        if damaged := list(decoded.card.damaged.values()):
            line = damage_line(damaged, len(files.places), str(column.store.root))
            if self.on_error == "fail":
                remedy = f"on_error skip leaves them out, condgen data check {column.store.root} --all names all"
                raise DamagedImagesError(f"{line}; {remedy}")
            if say:
                log.warning("left out: %s", line)
        return decoded
