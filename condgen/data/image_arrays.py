"""The user's own images in one array file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condgen.data.array_files import Head, array_heads, open_arrays
from condgen.data.array_images import channels_last, check_levels, images_among, labels_among, planes, read_labels
from condgen.data.augment import Augmentation
from condgen.data.base import ImageDataModule, Split
from condgen.data.fingerprint import hash_files
from condgen.data.images import Images, ImageSet, Part
from condgen.data.splits import NAMES, RandomSplit, check_trained
from condgen.types import Condition, CondSpec, Shape

SPLIT_IMAGES = re.compile(rf"({'|'.join(NAMES)})_images")


@dataclass(frozen=True)
class ArrayRows(Images):
    """Rows of an array that may be mapped.

    Args:
        array: (N, H, W), (N, C, H, W), or (N, H, W, C) if `last`, uint8.
        last: Whether the channels stand last.
        cond: Raw conditions, N rows each.
    """

    array: Any
    last: bool
    cond: Condition

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.array)

    def take(self, index: Tensor) -> ImageSet:
        """Return the rows at `index` (M,) int64."""
        pixels = planes(self.array[index.numpy()], self.last)
        return ImageSet(pixels, {key: value[index] for key, value in self.cond.items()})


class ImageArrays(ImageDataModule):
    """Images in a `.npy` file, or a `.npz` file with their labels beside them, mapped and not read whole.

    Images are uint8, (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels, and labels integers, (N,) or (N, 1).
    The arrays of a `.npz` file are called `images` and `labels`; or `train_images`, `train_labels`, `val_images` and so
    on, as MedMNIST has them. Splits that are not given are cut out of the training images, each class in proportion.

    Args:
        path: The file.
        class_names: Names of the labels 0, 1, ...; null for the numbers.
        split: How splits that are not given are cut out.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    def __init__(
        self,
        path: str,
        class_names: list[str] | None = None,
        split: RandomSplit = RandomSplit(),  # noqa: B008 - it is frozen
        batch_size: int = 64,
        eval_batch_size: int = 500,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, augment)
        self.path = Path(path)
        self.class_names = class_names
        self.split = split
        self._opened: dict[str, Any] = {}

    @cached_property
    def heads(self) -> dict[str, Head]:
        """What the arrays are; none is read."""
        return array_heads(self.path)

    @cached_property
    def arrays(self) -> dict[Split, tuple[str, str | None]]:
        """Names of the arrays of images and labels of each split that is given."""
        return arrays_of_splits(list(self.heads), str(self.path))

    @cached_property
    def image_shape(self) -> Shape:  # type: ignore[override]
        """What the head of the array says."""
        first = self.arrays["train"][0]
        shape = self.heads[first].shape
        for name, _ in self.arrays.values():
            if self.heads[name].shape[1:] != shape[1:]:
                raise ValueError(f"{name} of {self.path} are {self.heads[name].shape[1:]}, but {first} {shape[1:]}")
        last = channels_last(shape, str(self.path))
        return (1, *shape[1:]) if len(shape) == 3 else (shape[3], *shape[1:3]) if last else shape[1:]  # type: ignore[return-value]

    @cached_property
    def label(self) -> dict[Split, Tensor]:
        """Labels (N,) int64 of each split that is given, where the file has them."""
        names = {split: label for split, (_, label) in self.arrays.items() if label is not None}
        opened = open_arrays(self.path, names.values()) if names else {}
        counts = {split: self.heads[images].shape[0] for split, (images, _) in self.arrays.items()}
        return {split: read_labels(opened[name], counts[split], str(self.path)) for split, name in names.items()}

    @cached_property
    def cond_spec(self) -> CondSpec:  # type: ignore[override]
        """Names of the labels, where there are labels; no image is read."""
        if not self.label:
            if self.class_names:
                raise ValueError(f"class_names are given, but {self.path} has no labels")
            return {}
        count = 1 + max(int(label.max()) for label in self.label.values())
        if self.class_names and len(self.class_names) < count:
            raise ValueError(f"{self.path} has label {count - 1}, but class_names are only {len(self.class_names)}")
        return {"label": {"names": list(self.class_names or map(str, range(count)))}}

    @cached_property
    def places(self) -> dict[Split, Tensor]:
        """Places of the training array's images, by split; those of other arrays are empty."""
        count = self.heads[self.arrays["train"][0]].shape[0]
        strata = self.label.get("train", torch.zeros(count, dtype=torch.int64))
        given = {split: torch.arange(count if split == "train" else 0) for split in self.arrays}
        places = self.split.complete(given, strata)
        if self.label:
            check_trained(strata[places["train"]], self.cond_spec["label"]["names"], str(self.path))
        return places

    def load(self, split: Split) -> Images:
        """Map one split's images."""
        owner: Split = split if split in self.arrays else "train"
        name, _ = self.arrays[owner]
        if name not in self._opened:
            self._opened |= open_arrays(self.path, [name])
        array, title = self._opened[name], f"{name} of {self.path}" if name else str(self.path)
        check_levels(array, title)
        cond = {"label": self.label[owner]} if owner in self.label else {}
        rows = ArrayRows(array, channels_last(array.shape, title), cond)
        places = self.places[split]
        if owner != "train":
            return rows
        if not len(places):
            raise ValueError(f"{self.path} has too few images for {split}: {len(array)}")
        return Part(rows, places)

    def hash_split(self, split: Split) -> str:
        """Hash the file."""
        return hash_files([self.path], split, self.split)


def arrays_of_splits(names: list[str], title: str) -> dict[Split, tuple[str, str | None]]:
    """Return the names of the arrays of images and labels of each split; `train` for all where none is named.

    Raises:
        ValueError: If there are no images for training, or some splits have labels and others none.
    """
    found = {NAMES[match[1]]: match[0] for match in map(SPLIT_IMAGES.fullmatch, names) if match}
    if not found:
        return {"train": (images_among(names, title), labels_among(names, title))}
    if "train" not in found:
        raise ValueError(f"{title} has no train_images, but {', '.join(found.values())}")
    labels = {split: name.replace("_images", "_labels") for split, name in found.items()}
    there = [name for name in labels.values() if name in names]
    if there and len(there) < len(labels):
        raise ValueError(f"{title} has {', '.join(there)}, but no {next(n for n in labels.values() if n not in there)}")
    return {split: (name, labels[split] if there else None) for split, name in found.items()}
