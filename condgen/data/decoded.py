"""Pictures of a store, each file decoded once: kept as one array file in the cache, or read when they are asked for.

The cache's folder `images/<key>` holds `card.json` and, unless the array would be larger than the limit, `pixels.npy`,
which all processes map. The key is that of names, sizes and times of change of the files, and of how they are read.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
import zlib
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from condgen.cache_root import cache_root
from condgen.data.decode import DecodeError
from condgen.data.reading import Reading
from condgen.data.stores import Store
from condgen.data.workers import in_workers, spare_cores
from condgen.whole import sweep, whole_folder

BLOCK = 64
GIB = 1 << 30
CARD, PIXELS = "card.json", "pixels.npy"


@dataclass(frozen=True)
class Pictures:
    """Some files of a store, to be read in one way.

    Args:
        store: Where the files are.
        places: (N,) int64, which they are, each once.
        reading: How they are read.
    """

    store: Store
    places: Tensor
    reading: Reading

    @property
    def key(self) -> str:
        """Hash of whatever decides the pixels, as far as that can be told without reading files."""
        settings = str(self.store.root.resolve()), self.store.stamp, self.reading.key
        return blake2b(repr(settings).encode() + self.places.numpy().tobytes(), digest_size=16).hexdigest()

    @property
    def nbytes(self) -> int:
        """Size of all pixels."""
        return len(self.places) * prod(self.reading.shape)

    def read(self, place: int) -> tuple[Tensor, bytes]:
        """Return the pixels (C, H, W) uint8 of one of the files, and its bytes.

        Raises:
            DecodeError: If it is damaged.
        """
        number = int(self.places[place])
        try:
            content = self.store.read(number)
        except OSError as error:
            raise DecodeError(str(error)) from error
        return self.reading(content, self.store.title(number)), content


@dataclass(frozen=True)
class Card:
    """What is known of pictures that have all been read.

    Attributes:
        content: Hash of the files' names and bytes.
        damaged: What is wrong with each damaged file, by its place.
        checksum: Of the array; null where there is none.
    """

    content: str
    damaged: dict[int, str] = field(default_factory=dict)
    checksum: int | None = None


class Decoded:
    """Pictures that have all been read once, so that it is known which are damaged.

    Args:
        pictures: What was read.
        card: What is known of them.
        array: All pixels (N, C, H, W) uint8, damaged ones 0; null to read each file when it is asked for.
    """

    def __init__(self, pictures: Pictures, card: Card, array: Tensor | None) -> None:
        self.pictures = pictures
        self.card = card
        self.array = array

    def take(self, index: Tensor) -> Tensor:
        """Return pixels (M, C, H, W) uint8.

        Raises:
            DecodeError: If a file has been damaged since.
        """
        if self.array is not None:
            return self.array[index]
        return torch.stack([self.pictures.read(place)[0] for place in index.tolist()])


def open_decoded(pictures: Pictures, limit: float, say: str | None = None) -> Decoded:
    """Read all pictures, or find what is known of them in the cache.

    Args:
        pictures: The pictures.
        limit: Size in GiB up to which the array is kept.
        say: What a progress bar calls them; null for none.

    Raises:
        OSError: If the cache cannot be written.
    """
    keep = pictures.nbytes <= limit * GIB
    folder = cache_root() / "images" / f"{pictures.key}{'' if keep else '-card'}"
    try:
        return find(pictures, folder, keep) or make(pictures, folder, keep, say)
    except OSError as error:
        raise OSError(f"{error}; CONDGEN_CACHE names another folder for what is kept") from error


def find(pictures: Pictures, folder: Path, keep: bool) -> Decoded | None:
    """Open a folder of the cache; None if it is not there, or damaged."""
    try:
        values = json.loads((folder / CARD).read_text())
        card = Card(values["content"], {int(k): v for k, v in values["damaged"].items()}, values["checksum"])
        array = map_array(folder / PIXELS) if keep else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    whole = array is None or (len(array) == len(pictures.places) and checksum(array) == card.checksum)
    return Decoded(pictures, card, array) if whole else None


def map_array(path: Path) -> Tensor:
    """Map an array file to memory that all processes share."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")
        return torch.from_numpy(np.load(path, mmap_mode="r", allow_pickle=False))


def checksum(array: Tensor) -> int:
    """Return the checksum of an array's bytes."""
    return zlib.crc32(array.numpy().reshape(-1).data)


def make(pictures: Pictures, folder: Path, keep: bool, say: str | None) -> Decoded:
    """Read all pictures, in parallel, and put what they are into the cache, whole or not at all."""
    sweep(folder.parent)
    shutil.rmtree(folder, ignore_errors=True)
    with whole_folder(folder) as new:
        array = new_array(new / PIXELS, (len(pictures.places), *pictures.reading.shape)) if keep else None
        content = blake2b(digest_size=16)
        damaged: dict[int, str] = {}
        blocks = list(torch.arange(len(pictures.places)).split(BLOCK))
        for block in in_workers(Blocks(pictures), blocks, spare_cores(), say):
            if array is not None:
                array[block.start : block.start + len(block.pixels)] = block.pixels.numpy()
            content.update(block.digest)
            damaged |= block.damaged
        if array is not None:
            array.flush()
        crc = None if array is None else zlib.crc32(array.reshape(-1).data)
        (new / CARD).write_text(json.dumps(asdict(Card(content.hexdigest(), damaged, crc))))
    found = find(pictures, folder, keep)
    if found is None:
        raise OSError(f"{folder} was changed by another program while it was written")
    return found


class Block(NamedTuple):
    """Some pictures from `start` on: pixels, what is wrong with damaged ones, and a hash of names and bytes."""

    start: int
    pixels: Tensor
    damaged: dict[int, str]
    digest: bytes


@dataclass(frozen=True)
class Blocks:
    """Reads pictures by blocks of places."""

    pictures: Pictures

    def __getitem__(self, places: Tensor) -> Block:
        """Read a block."""
        pixels = torch.zeros(len(places), *self.pictures.reading.shape, dtype=torch.uint8)
        damaged, digest = {}, blake2b(digest_size=16)
        for row, place in enumerate(places.tolist()):
            digest.update(f"{self.pictures.store.names[int(self.pictures.places[place])]}\0".encode())
            try:
                pixels[row], content = self.pictures.read(place)
                digest.update(content)
            except DecodeError as error:
                damaged[place] = str(error)
        return Block(int(places[0]), pixels, damaged, digest.digest())


def new_array(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Make an array file of zeros, its space claimed: a full disk is an error here, not a crash later."""
    array: np.memmap[Any, np.dtype[np.uint8]] = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
