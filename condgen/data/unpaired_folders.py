"""The user's own images of two domains that are not paired."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from condgen.data.augment import Augmentation
from condgen.data.base import Split
from condgen.data.folder_images import class_of_each
from condgen.data.image_folder import Files, given_splits, inner_names, named_rows, open_images_in
from condgen.data.images import Images, ImageSet
from condgen.data.reading import Reading
from condgen.data.splits import NAMES, RandomSplit, check_trained
from condgen.data.stored import Column, Listing, OnError, StoredDataModule
from condgen.seeding import generator, run_seed
from condgen.types import CondSpec

SHORT = re.compile(rf"^((?i:{'|'.join(NAMES)}))_?([AB])/")
"""Folders such as `trainA`."""


@dataclass(frozen=True)
class UnpairedImages(Images):
    """Images of two domains, each with a source of the other one.

    Args:
        images: Images with `label`, their domain, 0 or 1.
        label: (N,) int64, the labels.
        source: (N,) int64, the place of each image's source.
    """

    images: Images
    label: Tensor
    source: Tensor

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.label)

    def take(self, index: Tensor) -> ImageSet:
        """Return the rows at `index` (M,) int64."""
        rows = self.images.take(index)
        return ImageSet(rows.pixels, rows.cond | {"source": self.images.take(self.source[index]).pixels})

    def in_epoch(self, epoch: int) -> UnpairedImages:
        """Return the images with sources drawn anew."""
        return replace(self, source=draw_sources(self.label, generator(run_seed(), "unpaired", epoch)))


def draw_sources(label: Tensor, source: torch.Generator) -> Tensor:
    """Draw a place (N,) int64 of the other domain for each place: each as often as all others, but for one time."""
    out = torch.empty_like(label)
    for domain in (0, 1):
        mine, other = (label == domain).nonzero()[:, 0], (label != domain).nonzero()[:, 0]
        turns = [other[torch.randperm(len(other), generator=source)] for _ in range(0, len(mine), len(other))]
        out[mine] = torch.cat(turns)[: len(mine)]
    return out


class UnpairedFolders(StoredDataModule):
    """Images of two domains, to be translated into each other, which are not paired.

    Folders are `trainA` and `trainB`, and `testA` and `testB` if given, as CycleGAN has them; or
    `{train,val,test}/<domain>`, or `<domain>`. All in a folder, a zip file, a tar file or a folder of tar files. Splits
    that are not given as folders are cut out of the training images, both domains in proportion.

    `image` is of the target domain, which `label` says, and `source` of the other one. In an epoch each image of both
    domains is the target once, with a source drawn anew, a function of (seed, epoch); in evaluation the sources stay.

    Args:
        root: The folder or the archive.
        image_size: Height and width that all images are brought to.
        domains: Names of the two domains, in the order of their labels; null for those found, sorted.
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
        domains: list[str] | None = None,
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
        if domains is not None and len(set(domains)) != 2:
            raise ValueError(f"domains must be two names, got {', '.join(domains) or 'none'}")
        self.root = Path(root)
        self.domains = domains
        self.split = split
        self.reading = Reading(image_size, 1 if grey else 3, crop)
        self.image_shape = self.reading.shape

    @cached_property
    def files(self) -> Files:
        """The files of both domains, by their places in the store."""
        return find_domains(self.root, self.domains)

    @cached_property
    def cond_spec(self) -> CondSpec:  # type: ignore[override]
        """What the domains are called; nothing is decoded for it."""
        names = self.domains or sorted(set(self.files.classes or []))
        return {"label": {"names": list(names)}, "source": {"channels": self.reading.channels, "paired": False}}

    def list_rows(self) -> Listing:
        """List all files, with the places of their domains' names."""
        files, names = self.files, self.cond_spec["label"]["names"]
        label = torch.tensor([names.index(name) for name in files.classes or []])
        splits = self.split.complete(named_rows(files.splits), label)
        check_trained(label[splits["train"]], names, str(self.root))
        column = Column(files.store, torch.tensor(files.places), self.reading)
        return Listing({"image": column}, {"label": label}, splits)

    def load(self, split: Split) -> UnpairedImages:
        """Return one split's images, with their sources."""
        part = self.part(split)
        label = self.listing.cond["label"][part.places]
        for domain, name in enumerate(self.cond_spec["label"]["names"]):
            if domain not in label:
                raise ValueError(f"{self.root} has no {split} images of {name}")
        return UnpairedImages(part, label, draw_sources(label, generator("unpaired")))


def find_domains(root: Path, domains: list[str] | None) -> Files:
    """List the images of two domains.

    Raises:
        ValueError: If there are others than two, or not those named.
    """
    store, places = open_images_in(root)
    names = [SHORT.sub(r"\1/\2/", name, count=1) for name in inner_names([store.names[place] for place in places])]
    words, names = given_splits(names)
    classes = class_of_each(names, root) or []
    wanted = set(domains or classes)
    if len(wanted) != 2 or not wanted <= set(classes):
        there = ", ".join(sorted(set(classes))[:10]) or "none"
        remedy = "" if domains else "; domains says which two are meant"
        raise ValueError(
            f"two folders {' and '.join(domains or ['of domains'])} are due in {root}, got {there}{remedy}"
        )
    rows = [row for row in zip(places, words, classes, strict=True) if row[2] in wanted]
    return Files(store, [place for place, _, _ in rows], [word for _, word, _ in rows], [name for _, _, name in rows])
