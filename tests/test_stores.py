"""Files are read by name, the same from a folder, a zip file and tar files; what is unsafe or damaged is refused."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import stat
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest

from condgen.data.archive_stores import open_store
from condgen.data.stores import Store

FILES = {"b/2.png": b"two" * 1000, "a/1.png": b"", "b/10.png": bytes(range(256)), "top.txt": b"t", "\u00e9/x.jpg": b"x"}
HIDDEN = {".DS_Store": b"h", "__MACOSX/b/._2.png": b"h", "b/.hidden/3.png": b"h"}


def as_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def as_zip(path: Path, files: dict[str, bytes], method: int = ZIP_STORED) -> Path:
    with ZipFile(path.with_suffix(".zip"), "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path.with_suffix(".zip")


def as_deflated(path: Path, files: dict[str, bytes]) -> Path:
    return as_zip(path, files, ZIP_DEFLATED)


def as_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    return path.with_suffix(".tar")


def as_shards(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir()
    for number, name in enumerate(files):
        as_tar(path / f"shard-{number:03d}", {name: files[name]})
    return path


WAYS = [as_folder, as_zip, as_deflated, as_tar, as_shards]


def content(store: Store) -> dict[str, bytes]:
    return {name: store.read(place) for place, name in enumerate(store.names)}


@pytest.mark.parametrize("write", WAYS)
def test_every_kind_of_store_holds_the_same_files(write: Callable[..., Path], tmp_path: Path) -> None:
    hidden = {name: b for name, b in HIDDEN.items() if write is not as_folder or not name.startswith("__")}
    store = open_store(write(tmp_path / "set", FILES | hidden))
    assert store.names == sorted(FILES)
    assert content(store) == FILES
    assert "2.png" in store.title(store.names.index("b/2.png"))


@pytest.mark.parametrize("write", [as_folder, as_zip, as_tar])
def test_the_stamp_changes_with_a_file(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(tmp_path / "set", FILES)
    before = open_store(path)
    assert open_store(path).stamp == before.stamp
    changed = path / "b" / "2.png" if path.is_dir() else path
    os.utime(changed, ns=(1, 1))
    assert open_store(path).stamp != before.stamp


def read_in_child(store: Store, place: int, results: multiprocessing.SimpleQueue[bytes]) -> None:
    results.put(store.read(place))


@pytest.mark.parametrize("write", [as_zip, as_tar])
def test_processes_share_an_open_archive(write: Callable[..., Path], tmp_path: Path) -> None:
    store = open_store(write(tmp_path / "set", FILES))
    store.read(0)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    place = store.names.index("b/2.png")
    child = context.Process(target=read_in_child, args=(store, place, results))
    child.start()
    assert results.get() == FILES["b/2.png"]
    child.join()
    assert content(store) == content(pickle.loads(pickle.dumps(store))) == FILES


def test_damaged_bytes_of_a_zip_file_are_found(tmp_path: Path) -> None:
    for write in (as_zip, as_deflated):
        path = write(tmp_path / "set", FILES)
        whole = bytearray(path.read_bytes())
        with ZipFile(path) as archive:
            entry = archive.getinfo("b/10.png")
        whole[entry.header_offset + 30 + len("b/10.png") + 5] ^= 1
        path.write_bytes(whole)
        store = open_store(path)
        with pytest.raises(OSError, match=r"b/10.png in .* is damaged"):
            store.read(store.names.index("b/10.png"))
        assert store.read(store.names.index("b/2.png")) == FILES["b/2.png"]


def test_a_tar_files_places_are_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path / "cache"))
    path = as_tar(tmp_path / "set", FILES)
    open_store(path)
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", None)
        assert content(open_store(path)) == FILES
    (index,) = (tmp_path / "cache" / "tars").iterdir()
    index.write_text("[[1")
    assert content(open_store(path)) == FILES


def refused(path: Path) -> str:
    with pytest.raises((ValueError, OSError)) as caught:
        content(open_store(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    assert "no file or folder" in refused(tmp_path / "nowhere")
    (tmp_path / "file.txt").write_text("hello")
    assert "is neither a folder nor a .zip or .tar file" in refused(tmp_path / "file.txt")
    for write in (as_zip, as_tar):
        path = write(tmp_path / "half", {"a.png": bytes(5000)})
        path.write_bytes(path.read_bytes()[:2000])
        assert f"{path}" in refused(path)
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "file.txt")
    assert "is compressed; it must be unpacked first" in refused(tmp_path / "packed.tar.gz")


@pytest.mark.parametrize("write", [as_zip, as_tar])
def test_names_that_lead_elsewhere_are_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    assert "leads out of its folder" in refused(write(tmp_path / "up", {"../../etc/x.png": b"x"}))
    path = write(tmp_path / "large", {"a.png": b"x"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("condgen.data.archive_stores.MEMBER_LIMIT", 0)
        os.utime(path, ns=(1, 1))
        assert "more than the limit of 0" in refused(path)


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    info = ZipInfo("a.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(info, b"/etc/passwd")
    link = tarfile.TarInfo("a.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.addfile(link)
    for path in (tmp_path / "set.zip", tmp_path / "set.tar"):
        assert refused(path) == f"'a.png' in {path} is a link; only plain files and folders are read"


def test_a_zip_that_lies_about_a_size_expands_no_further(tmp_path: Path) -> None:
    path = as_deflated(tmp_path / "bomb", {"a.png": bytes(10_000_000)})
    raw = path.read_bytes()
    path.write_bytes(raw.replace((10_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    assert "a.png in" in refused(path)
