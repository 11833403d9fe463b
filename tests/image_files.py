"""Image files, tables and archives for tests of data sets."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from conftest import REPO
from PIL import Image

from condgen.data import ImageDataModule


def picture(level: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """A PNG whose red is `level` and whose green and blue are 0."""
    file = io.BytesIO()
    Image.new("RGB", size, (level, 0, 0)).save(file, format="PNG")
    return file.getvalue()


def palette(values: np.ndarray) -> bytes:
    """A palette PNG of class numbers, whose colours say nothing of them."""
    file, image = io.BytesIO(), Image.fromarray(values.astype(np.uint8), mode="P")
    image.putpalette([255 - place % 7 for place in range(768)])
    image.save(file, format="PNG")
    return file.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def stream(data: ImageDataModule, count: int, start: int = 0) -> list[dict[str, Any]]:
    """Training batches `start` to `count`, from a loader that another one's state was given to."""
    first, second = data.train_dataloader(), data.train_dataloader()
    while first.batches < start:
        for _ in first:
            if first.batches == start:
                break
    second.load_state_dict(first.state_dict())
    out: list[dict[str, Any]] = []
    while len(out) < count - start:
        for batch in second:
            out.append(batch)
            if len(out) == count - start:
                break
    return out


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return all(same(a[key], b[key]) for key in a) and a.keys() == b.keys() if isinstance(a, dict) else bool(a == b)


def check_resume(make: Any) -> None:
    """Batches are the same, whether the run was stopped after some or not."""
    whole = stream(make(), 7)
    assert not same(whole[0]["pixels"], whole[1]["pixels"])
    for stop in (1, 3, 5):
        assert all(same(a, b) for a, b in zip(stream(make(), 7, stop), whole[stop:], strict=True)), stop


def shared_file(name: str) -> Path:
    """A file of real data, from CONDGEN_DATA or the places where it usually is."""
    for folder in (os.environ.get("CONDGEN_DATA", ""), REPO / "data", REPO.parent / "shared" / "data"):
        if folder and (Path(folder) / name).is_file():
            return Path(folder) / name
    pytest.skip(f"{name} is not here; set CONDGEN_DATA to the folder that holds it")
