"""What a user's image files are: counts, sizes, kinds, copies, and whatever is wrong with them, by name."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from condgen.data.archive_stores import open_store
from condgen.data.decode import FORMATS, SUFFIXES, DecodeError, decode, strict
from condgen.data.folder_images import class_of_each
from condgen.data.image_folder import given_splits, inner_names
from condgen.data.stores import Store
from condgen.data.workers import in_workers, spare_cores

BLOCK = 64
MANY = 500
"""Files from which on several processes look at them."""
SUFFIX_OF = {"JPEG": (".jpg", ".jpeg"), "TIFF": (".tif", ".tiff"), "PPM": (".ppm", ".pgm", ".pnm")}


class Look(NamedTuple):
    """What one file is.

    Attributes:
        name: Its name.
        digest: Hash of its bytes.
        length: Number of its bytes.
        size: Width and height; null where there is no picture.
        kind: Format and mode, such as `JPEG RGB`.
        damage: Why it cannot be decoded.
        flat: Whether all its pixels are alike.
    """

    name: str
    digest: bytes = b""
    length: int = 0
    size: tuple[int, int] | None = None
    kind: str = ""
    damage: str = ""
    flat: bool = False


@dataclass(frozen=True)
class Looks:
    """Looks at blocks of a store's files."""

    store: Store

    def __getitem__(self, places: Sequence[int]) -> list[Look]:
        """Look at some files."""
        return [look(self.store, place) for place in places]


def look(store: Store, place: int) -> Look:
    """Read and decode one file."""
    name, title = store.names[place], store.title(place)
    try:
        content = store.read(place)
        pixels = decode(content, channels=3, name=title)
    except (DecodeError, OSError) as error:
        return Look(name, damage=str(error))
    with strict(), Image.open(BytesIO(content), formats=FORMATS) as picture:
        kind, size = f"{picture.format} {picture.mode}", picture.size
    flat = bool((pixels == pixels[:, :1, :1]).all())
    return Look(name, blake2b(content, digest_size=16).digest(), len(content), size, kind, "", flat)


@dataclass
class Survey:
    """What a set of files is.

    Attributes:
        path: Where they are.
        looks: What each image file is.
        others: Names of files that are no images.
        splits: Number of images in each split, where folders tell.
        classes: Number of images in each class, where folders tell.
        captions: All captions, where a table has some.
        wrong: What must be mended, a line each.
        odd: What should be looked at, a line each.
    """

    path: Path
    looks: list[Look] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    splits: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    captions: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    @property
    def sizes(self) -> Counter[tuple[int, int]]:
        """Number of images of each width and height."""
        return Counter(item.size for item in self.looks if item.size is not None)

    @property
    def kinds(self) -> Counter[str]:
        """Number of images of each format and mode."""
        return Counter(item.kind for item in self.looks if item.kind)

    @property
    def length(self) -> int:
        """Number of bytes of all images."""
        return sum(item.length for item in self.looks)


def survey(path: Path, say: str | None = None) -> Survey:
    """Look at all files of a folder, a zip file or tar files.

    Args:
        path: Where they are.
        say: What a progress bar calls the work; null for none.

    Raises:
        ValueError: If it is none of these.
    """
    store, out = open_store(path), Survey(path)
    is_image = [os.path.splitext(name)[1].lower() in SUFFIXES for name in store.names]
    out.others = [name for name, image in zip(store.names, is_image, strict=True) if not image]
    out.looks = look_at(store, [place for place, image in enumerate(is_image) if image], say)
    if not out.looks:
        out.wrong.append(f"no images; they end in {', '.join(sorted(SUFFIXES))}")
        return out
    group(out)
    judge(out)
    return out


def look_at(store: Store, places: Sequence[int], say: str | None) -> list[Look]:
    """Look at some files of a store, in parallel where they are many."""
    blocks = [places[start : start + BLOCK] for start in range(0, len(places), BLOCK)]
    workers = spare_cores() if len(places) > MANY else 0
    return [item for block in in_workers(Looks(store), blocks, workers, say) for item in block]


def judge(out: Survey) -> None:
    """Say which files are wrong or odd by themselves."""
    out.wrong += [item.damage for item in out.looks if item.damage]
    out.odd += [f"{item.name} is one flat colour" for item in out.looks if item.flat]
    out.odd += misnamed(out.looks)


def group(out: Survey) -> None:
    """Count images by split and class, and compare copies."""
    names = [item.name for item in out.looks]
    words, inner = given_splits(inner_names(names))
    try:
        classes = class_of_each(inner, out.path)
    except ValueError as error:
        out.wrong.append(str(error))
        classes = None
    given = inner != inner_names(names)
    out.splits = Counter(words) if given else Counter()
    out.classes = Counter(classes or [])
    places = dict(zip(names, zip(words, classes or [""] * len(names), strict=True), strict=True))
    if given:
        out.odd += [f"{gap} has no images of class {name}" for gap, name in gaps(places.values())]
    compare_copies(out, places)


def compare_copies(out: Survey, places: Mapping[str, tuple[str, str]]) -> None:
    """Name files that are equal; `places` has the split and the class of each."""
    for copies in same_files(out.looks):
        where = {places[name] for name in copies}
        line = f"{' = '.join(copies)}: the same file"
        if len({split for split, _ in where}) > 1:
            out.wrong.append(f"{line}, in two splits")
        elif len({name for _, name in where}) > 1:
            out.wrong.append(f"{line}, in two classes")
        else:
            out.odd.append(line)


def gaps(places: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the splits and classes that have no images together."""
    there = set(places)
    return sorted({(split, name) for split, _ in there for _, name in there} - there)


def same_files(looks: Sequence[Look]) -> list[list[str]]:
    """Return the names of files that are equal byte for byte, group by group."""
    names = defaultdict(list)
    for item in looks:
        if not item.damage:
            names[item.digest].append(item.name)
    return [group for group in names.values() if len(group) > 1]


def misnamed(looks: Sequence[Look]) -> list[str]:
    """Name files whose ending is that of another format."""
    out = []
    for item in looks:
        kind, suffix = item.kind.partition(" ")[0], os.path.splitext(item.name)[1].lower()
        if kind and suffix not in SUFFIX_OF.get(kind, (f".{kind.lower()}",)):
            out.append(f"{item.name} is a {kind} file")
    return out
