"""Files that images go to as they come, so that as many can be made as the disk holds."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from condgen.cli.wanted import Wanted
from condgen.pictures import grid, save_png, to_pil
from condgen.types import Shape
from condgen.whole import whole_file

Write = Callable[[Tensor, Tensor], object]
"""Takes uint8 images (N, C, H, W) and their numbers (N,), which follow those before."""
Writer = Callable[[Path, Wanted, Shape], AbstractContextManager[Write]]


@contextmanager
def pngs(folder: Path, wanted: Wanted, shape: Shape) -> Iterator[Write]:
    """Write a PNG for each image into a folder, in which there may be no others.

    Raises:
        FileExistsError: If there are.
    """
    others = {file.name for file in folder.glob("*.png")}
    if others:
        others -= {f"{name}.png" for name in wanted.names(torch.arange(wanted.total))}
    if others:
        raise FileExistsError(f"{folder} holds other images, such as {min(others)}; give a folder of its own")

    def write(images: Tensor, numbers: Tensor) -> None:
        for name, image in zip(wanted.names(numbers), images, strict=True):
            save_png(image, folder / f"{name}.png")

    yield write


@contextmanager
def sheet(path: Path, wanted: Wanted, shape: Shape) -> Iterator[Write]:
    """Write all images into one picture, a row for each condition."""
    blocks: list[Tensor] = []
    yield lambda images, numbers: blocks.append(images)
    save_png(grid(torch.cat(blocks), len(wanted.seeds)), path)


@contextmanager
def npz(path: Path, wanted: Wanted, shape: Shape) -> Iterator[Write]:
    """Write `images` (N, H, W, C) uint8, `seeds` and, where they are asked for by label, `labels` into one file."""
    channels, height, width = shape
    with whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        with archive.open("images.npy", "w", force_zip64=True) as member:
            head = {"descr": "|u1", "fortran_order": False, "shape": (len(wanted.mine), height, width, channels)}
            np.lib.format.write_array_header_1_0(member, head)
            yield lambda images, numbers: member.write(images.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
        cond, seeds = wanted.asked(wanted.mine)
        rows = {"seeds": seeds} | ({"labels": cond["label"]} if "label" in cond else {})
        for name, values in rows.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, values.numpy(), allow_pickle=False)


@contextmanager
def tar(path: Path, wanted: Wanted, shape: Shape) -> Iterator[Write]:
    """Write a PNG for each image into a tar shard, and its label beside it as `.cls`."""
    with whole_file(path) as file, tarfile.open(fileobj=file, mode="w") as archive:

        def write(images: Tensor, numbers: Tensor) -> None:
            label = wanted.asked(numbers)[0].get("label")
            for i, (name, image) in enumerate(zip(wanted.names(numbers), images, strict=True)):
                key, png = name.replace(".", "_"), BytesIO()  # a key ends at the first dot
                to_pil(image).save(png, format="PNG")
                add(archive, f"{key}.png", png.getvalue())
                if label is not None:
                    add(archive, f"{key}.cls", str(int(label[i])).encode())

        yield write


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to a tar; nothing of it depends on the time or the user."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, BytesIO(content))
    cast(Any, archive).members.clear()  # tarfile keeps all that it wrote


WRITERS: dict[str, Writer] = {"": pngs, ".png": sheet, ".npz": npz, ".tar": tar}
"""Writers by the ending of the path; a folder has none."""


def ending(path: Path) -> str:
    """Return what chooses the writer of a path."""
    return "" if path.is_dir() else path.suffix.lower()


def open_writer(path: Path, wanted: Wanted, shape: Shape) -> AbstractContextManager[Write]:
    """Return the writer of a path; of several processes, each has a file of its own, but a folder is shared."""
    if wanted.processes > 1 and ending(path):
        path = path.with_name(f"{path.stem}-{wanted.rank:05d}-of-{wanted.processes:05d}{path.suffix}")
    return WRITERS[ending(path)](path, wanted, shape)
