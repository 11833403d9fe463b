"""LSUN's databases: classes and splits by their folders, read in place by several processes; damage is named."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path

import pytest
import torch
from image_files import check_resume
from PIL import Image

from condgen.cli import main
from condgen.data import LSUN, BatchLoader, DamagedImagesError, ImageFolder
from condgen.data.base import Split
from condgen.data.lmdb_store import LMDBStore

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
COUNTS = {"tower_train": 30, "tower_val": 6, "bridge_train": 20, "bridge_val": 4}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path / "cache"))


def webp(level: int) -> bytes:
    """A lossless WebP whose red is `level`."""
    file = io.BytesIO()
    Image.new("RGB", (12, 8), (level, 0, 0)).save(file, format="WEBP", lossless=True)
    return file.getvalue()


def key(level: int) -> str:
    """A key as LSUN has them, in no order."""
    return sha1(str(level).encode()).hexdigest()


def write_database(folder: Path, images: dict[str, bytes]) -> Path:
    lmdb = pytest.importorskip("lmdb", reason="lmdb is not installed; pip install 'condgen[data]'")
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 24) as database, database.begin(write=True) as transaction:
        for name, content in images.items():
            transaction.put(name.encode(), content)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four databases; levels go on from one to the next."""
    level = 0
    for name, count in COUNTS.items():
        contents = {key(n): webp(n) for n in range(level, level + count)}
        write_database(tmp_path / "lsun" / f"{name}_lmdb", contents)
        level += count
    (tmp_path / "lsun" / "test_lmdb").mkdir()
    return tmp_path / "lsun"


def levels(data: ImageFolder, split: Split) -> list[int]:
    return sorted(data.images(split).all().pixels[:, 0, 0, 0].tolist())


@pytest.mark.parametrize("cache_gib", [8.0, 0.0])
@pytest.mark.parametrize("make", [LSUN, ImageFolder])
def test_folders_are_classes_and_splits(make: Callable[..., ImageFolder], cache_gib: float, root: Path) -> None:
    data = make(str(root), 8, ["tower", "bridge"], cache_gib=cache_gib)
    assert data.cond_spec == {"label": {"names": ["tower", "bridge"]}}
    assert levels(data, "validation") == [*range(30, 36), *range(56, 60)]
    assert sorted(levels(data, "train") + levels(data, "test")) == [*range(30), *range(36, 56)]
    assert len(data.images("test")) == 5
    for split in SPLITS:
        rows = data.images(split).all()
        assert torch.equal(rows.cond["label"], (rows.pixels[:, 0, 0, 0] >= 36).long())
    assert make(str(root), 8).cond_spec == {"label": {"names": ["bridge", "tower"]}}


def test_one_class_reads_no_other_database(root: Path) -> None:
    (root / "tower_train_lmdb" / "data.mdb").write_bytes(b"damaged")
    data = LSUN(str(root), 8, ["bridge"])
    assert levels(data, "validation") == [56, 57, 58, 59]
    assert LSUN("nowhere", 8, ["bridge"]).cond_spec == {"label": {"names": ["bridge"]}}


def test_files_are_the_values_and_keys_are_listed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LMDBStore(root, ["bridge"])
    assert store.names == sorted(
        f"{split}/bridge/{key(n)}.webp" for split, of in (("train", range(36, 56)), ("val", range(56, 60))) for n in of
    )
    assert [store.read(place) for place in range(24)] == [
        webp(next(n for n in range(60) if key(n) in name)) for name in store.names
    ]
    assert store.title(0) == f"{Path(store.names[0]).stem} in {root}/bridge_train_lmdb"
    with monkeypatch.context() as patch:
        patch.setattr("condgen.data.lmdb_store.opened", None)
        assert LMDBStore(root, ["bridge"]).names == store.names
    os.utime(root / "bridge_train_lmdb" / "data.mdb", ns=(1, 1))
    assert LMDBStore(root, ["bridge"]).stamp != store.stamp


def read_in_child(store: LMDBStore, results: multiprocessing.SimpleQueue[bytes]) -> None:
    results.put(store.read(1))


def test_processes_share_a_store(root: Path) -> None:
    store = LMDBStore(root)
    first = store.read(1)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=read_in_child, args=(store, results))
    child.start()
    assert results.get() == first == store.read(1) == pickle.loads(pickle.dumps(store)).read(1)
    child.join()


def test_two_processes_with_two_workers_see_each_image_once_an_epoch(root: Path) -> None:
    sets = [LSUN(str(root), 8, cache_gib=limit).images("train") for limit in (8.0, 0.0)]
    for _ in range(2):
        seen = []
        for images, workers in zip(sets, (0, 2), strict=True):
            loaders = [BatchLoader(images, 5, shuffle=True, rank=r, world_size=2, workers=workers) for r in range(2)]
            seen.append([[batch["pixels"][:, 0, 0, 0].tolist() for batch in loader] for loader in loaders])
        assert seen[0] == seen[1]
        flat = [level for batches in seen[1] for batch in batches for level in batch]
        assert len(flat) == len(set(flat)) == len(sets[0]) // 10 * 10


def test_batches_go_on_in_mid_epoch(root: Path) -> None:
    check_resume(lambda: LSUN(str(root), 8, cache_gib=0.0, workers=2, batch_size=10))


# ---------------------------------------------------------------------- damage


def refused(root: Path, *classes: str) -> str:
    with pytest.raises((ValueError, OSError), match=r"\A.*\Z") as caught:
        LSUN(str(root), 8, list(classes) or None).prepare_data()
    return str(caught.value)


def test_what_is_missing_or_damaged_is_named(root: Path, tmp_path: Path) -> None:
    line = refused(root, "kitchen")
    assert line.startswith(f"no folder kitchen_train_lmdb in {root}; classes there: bridge, tower; https://github.com/")
    assert refused(root / "test_lmdb").startswith(f"no folder <class>_train_lmdb in {root}/test_lmdb; classes there: n")
    assert "set data.root; https://github.com/fyu/lsun says" in refused(tmp_path / "nowhere")
    (root / "bridge_val_lmdb" / "data.mdb").write_bytes(b"damaged")
    assert refused(root).startswith(f"{root}/bridge_val_lmdb is no whole LMDB database: ")
    write_database(root / "kitchen_train_lmdb", {"a/b": webp(0)})
    assert "kitchen_train_lmdb has the key 'a/b'; keys have letters" in refused(root, "kitchen")


def test_a_database_that_is_cut_off_is_refused_before_it_ends_the_process(root: Path) -> None:
    data = LSUN(str(root), 8, ["tower"], cache_gib=0.0)
    data.prepare_data()
    file = root / "tower_train_lmdb" / "data.mdb"
    size = file.stat().st_size
    os.truncate(file, size - 4096)
    due = f"data.mdb is not whole: it has {size - 4096:,} bytes of {size:,}; unpack it again"
    assert due in refused(root, "tower")
    with pytest.raises(ValueError, match=due):
        data.images("train").all()


def test_damaged_images_are_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_database(root / "kitchen_train_lmdb", {key(n): webp(n) if n else b"" for n in range(30)})
    with pytest.raises(DamagedImagesError, match=f"{key(0)} in {folder}: empty file; on_error skip leaves them out"):
        LSUN(str(root), 8, ["kitchen"]).prepare_data()
    assert len(LSUN(str(root), 8, ["kitchen"], on_error="skip").files.places) == 30
    assert main(["data", "check", str(root), "--all"]) == 1
    assert f"{key(0)} in {folder}: empty file" in capsys.readouterr().out


def test_without_the_package_one_line_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tower_train_lmdb").mkdir()
    (tmp_path / "tower_train_lmdb" / "data.mdb").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert refused(tmp_path) == "LMDB databases, such as LSUN's, take lmdb: pip install 'condgen[data]'"
