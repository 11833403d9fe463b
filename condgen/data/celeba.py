"""CelebA: faces with forty attributes and the number of the person."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count, zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condgen.data.augment import Augmentation
from condgen.data.base import Split
from condgen.data.image_folder import open_images_in
from condgen.data.published import remove_empty
from condgen.data.reading import Reading
from condgen.data.stored import Column, Listing, OnError, StoredDataModule
from condgen.data.stores import Store
from condgen.data.table_rows import at, one_of
from condgen.types import Condition, CondSpec
from condgen.whole import part_of

ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
    "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling",
    "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
    "Wearing_Necktie", "Young",
)  # fmt: skip
IDENTITIES = 10_177
IMAGES, LISTED, PARTITION, PERSONS = (
    "img_align_celeba.zip",
    "list_attr_celeba.txt",
    "list_eval_partition.txt",
    "identity_CelebA.txt",
)
FILES = (IMAGES, LISTED, PARTITION, PERSONS)
PARTS: tuple[Split, ...] = ("train", "validation", "test")
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


class CelebA(StoredDataModule):
    """CelebA (Liu et al. 2015): 202,599 aligned faces, in the published partition; for research that is not commercial.

    The folder `celeba` holds `list_attr_celeba.txt`, `list_eval_partition.txt`, for `identity` also
    `identity_CelebA.txt`, and the images: `img_align_celeba.zip`, read in place, or the folder `img_align_celeba`. The
    middle 178x178 of each 178x218 image is resampled to the size.

    Args:
        root: Folder that holds, or shall hold, torchvision's folder `celeba`.
        image_size: Height and width that all images are brought to.
        attributes: Names of attributes to read; null for all 40.
        identity: Read the person too, as the label; no person is in two parts of the partition.
        download: Download what is not there from Google Drive, 1.4 GB; it takes `pip install 'condgen[data]'`.
        on_error: What to do if files are damaged: `fail` names them, `skip` leaves them out.
        cache_gib: Size in GiB up to which decoded pixels are kept on disk, for all runs.
        workers: Processes that read batches of a larger set ahead.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    def __init__(
        self,
        root: str = "data",
        image_size: int = 64,
        attributes: list[str] | None = None,
        identity: bool = False,
        download: bool = False,
        on_error: OnError = "fail",
        cache_gib: float = 8.0,
        workers: int = 2,
        batch_size: int = 64,
        eval_batch_size: int = 500,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(on_error, cache_gib, workers, batch_size, eval_batch_size, augment)
        names = list(ATTRIBUTES) if attributes is None else attributes
        for name in names:
            if name not in ATTRIBUTES:
                raise ValueError(f"CelebA has no attribute {name!r}; {one_of(name, ATTRIBUTES, 40)}")
        self.folder = Path(root) / "celeba"
        self.attributes, self.identity, self.download = names, identity, download
        self.reading = Reading(image_size)
        self.image_shape = self.reading.shape
        self.cond_spec: CondSpec = {}
        if identity:
            self.cond_spec["label"] = {"names": [str(number + 1) for number in range(IDENTITIES)]}
        if names:
            low, high = [0.0] * len(names), [1.0] * len(names)
            self.cond_spec["attributes"] = {"names": list(names), "low": low, "high": high, "flags": list(names)}

    def prepare_data(self) -> None:
        """Download once per machine, if asked for and needed; read all images once, if they are not known yet."""
        for name in FILES if self.download else ():
            if not (self.folder / name).exists() and not (self.folder / name).with_suffix("").is_dir():
                download_file(name, self.folder)
        super().prepare_data()

    def list_rows(self) -> Listing:
        """List all images of the partition, with what is known of them."""
        needed = [PARTITION] + [LISTED] * bool(self.attributes) + [PERSONS] * self.identity
        for name in needed:
            if not (self.folder / name).is_file():
                raise absent(self.folder, f"no {name}")
        names, part = read_list(self.folder / PARTITION, {"0": 0, "1": 1, "2": 2})
        cond: Condition = {}
        if self.identity:
            persons, label = read_list(self.folder / PERSONS, {str(n + 1): n for n in range(IDENTITIES)})
            check_names(persons, names, self.folder / PERSONS)
            cond["label"] = label[:, 0].long()
        if self.attributes:
            listed, values = read_attributes(self.folder / LISTED)
            check_names(listed, names, self.folder / LISTED, head=2)
            cond["attributes"] = values[:, [ATTRIBUTES.index(name) for name in self.attributes]].float()
        store, places = find_images(self.folder, names)
        splits = {split: (part[:, 0] == number).nonzero().squeeze(1) for number, split in enumerate(PARTS)}
        return Listing({"image": Column(store, places, self.reading)}, cond, splits)


def read_attributes(path: Path) -> tuple[list[str], Tensor]:
    """Return the names of the images, and their attributes (N, 40) int16, 0 or 1.

    Raises:
        ValueError: If the file is not whole, or names other attributes; the line is named.
    """
    said, head, *_ = [*path.read_text(errors="replace").split("\n", 2), "", ""]
    for name, due in zip_longest(head.split(), ATTRIBUTES):
        if name != due:
            raise at(path, 2, f"the head names {name or 'nothing'}, where {due or 'nothing more'} is due")
    names, values = read_list(path, {"-1": 0, "1": 1}, width=len(ATTRIBUTES), head=2)
    if said.strip() != str(len(names)):
        raise at(path, 1, f"says {said.strip()[:40]!r} images, but {len(names):,} follow; the file is not whole")
    return names, values


def read_list(path: Path, allowed: dict[str, int], width: int = 1, head: int = 0) -> tuple[list[str], Tensor]:
    """Return the names of images, and what is said of them (N, width) int16.

    Args:
        path: A file with a line for each image: its name, and values.
        allowed: What each value means.
        width: Number of values.
        head: Lines to leave out.

    Raises:
        ValueError: If a line has other values; it is named.
    """
    names: list[str] = []
    rows = []
    for line, text in enumerate(path.read_text(errors="replace").rstrip().split("\n")[head:], start=head + 1):
        name, *values = text.split() or [""]
        if len(values) != width:
            raise at(path, line, f"must be the name of an image and {width} values, got {text.strip()[:60]!r}")
        try:
            rows.append(np.array([allowed[value] for value in values], np.int16))
        except KeyError as error:
            due = ", ".join(allowed) if len(allowed) < 5 else f"{next(iter(allowed))} to {next(reversed(allowed))}"
            raise at(path, line, f"{name} has the value {error.args[0]!r}; values are {due}") from error
        names.append(name)
    if not names:
        raise ValueError(f"{path} names no images")
    return names, torch.from_numpy(np.stack(rows))


def check_names(names: Sequence[str], due: Sequence[str], path: Path, head: int = 0) -> None:
    """Refuse a file that has other images than the partition, or another order."""
    for line, name, expected in zip(count(head + 1), names, due, strict=False):
        if name != expected:
            raise at(path, line, f"is of {name}, where {PARTITION} has {expected}")
    if len(names) != len(due):
        raise ValueError(f"{path} has {len(names):,} images, and {PARTITION} {len(due):,}; one is not whole")


def find_images(folder: Path, names: Sequence[str]) -> tuple[Store, Tensor]:
    """Open the images' zip file or folder; return the store, and the place (N,) int64 of each image.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If an image is missing.
    """
    root = next((path for path in (folder / IMAGES, (folder / IMAGES).with_suffix("")) if path.exists()), None)
    if root is None:
        raise absent(folder, f"no {IMAGES}, nor a folder of that name without .zip,")
    store, places = open_images_in(root)
    known = {os.path.basename(store.names[place]): place for place in places}
    missing = [line for line, name in enumerate(names, start=1) if name not in known]
    if missing:
        what = f"{names[missing[0] - 1]} is not in {root}; so it is with {len(missing):,} of {len(names):,} images"
        raise at(folder / PARTITION, missing[0], what)
    return store, torch.tensor([known[name] for name in names])


def download_file(name: str, folder: Path) -> None:
    """Download a file as torchvision does, checked by its MD5.

    Raises:
        FileNotFoundError: If that fails.
    """
    from torchvision.datasets import CelebA as Published
    from torchvision.datasets.utils import download_file_from_google_drive

    number, md5 = next((number, md5) for number, md5, file in Published.file_list if file == name)
    part = part_of(folder / name)
    try:
        download_file_from_google_drive(number, folder, part.name, md5)
        os.replace(part, folder / name)
    except Exception as error:  # gdown, requests and torchvision raise errors of many kinds
        why = " ".join(str(error).split())
        if "'gdown' is required" in why:
            why = "pip install 'condgen[data]' brings gdown, which it takes"
        raise absent(folder, f"no {name}, and it could not be downloaded ({why}),", "") from error
    finally:
        part.unlink(missing_ok=True)
        remove_empty(folder)


def absent(folder: Path, what: str, otherwise: str = "; or set data.download to true") -> FileNotFoundError:
    """Say what is missing, and where it is to be had."""
    files = f"{', '.join(FILES[:-1])} and {FILES[-1]}"
    return FileNotFoundError(f"{what} in {folder}; put {files} there, from {PAGE}{otherwise}")
