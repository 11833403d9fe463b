"""Published data sets, downloaded from a server on this machine that holds small files of the right form."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from conftest import mnist_root
from local_server import Answer, LocalServer, local_server
from torchvision import datasets

from condgen.cli import main
from condgen.data import CIFAR10, CIFAR100, MNIST, FashionMNIST, cifar
from condgen.data.published import PublishedImages, fetch_archive, of_other_classes

ALL = [MNIST, FashionMNIST, CIFAR10, CIFAR100]
SIZES = {MNIST: (50, 10, 20), FashionMNIST: (50, 10, 20), CIFAR10: (40, 10, 20), CIFAR100: (200, 100, 100)}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def idx(array: np.ndarray) -> bytes:
    """Write an array in the format of the MNIST files."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.tobytes()


def labels(count: int, classes: int) -> np.ndarray:
    return (np.arange(count) % classes).astype(np.uint8)


def mnist_files(kind: type[PublishedImages]) -> dict[str, bytes]:
    """Images of one grey level, which is their label."""
    files = {}
    for part, count in (("train", sum(SIZES[kind][:2])), ("t10k", SIZES[kind][2])):
        label = labels(count, 10)
        files[f"{part}-images-idx3-ubyte"] = idx(np.tile(label[:, None, None], (1, 28, 28)))
        files[f"{part}-labels-idx1-ubyte"] = idx(label)
    return files


def cifar_files(kind: type[PublishedImages], published: Any) -> dict[str, bytes]:
    """Images whose red is their label and whose green counts the columns."""
    key = "labels" if kind is CIFAR10 else "fine_labels"
    files = {published.meta["filename"]: pickle.dumps({published.meta["key"]: list(kind.names)})}
    for names, total in ((published.train_list, sum(SIZES[kind][:2])), (published.test_list, SIZES[kind][2])):
        for number, (name, _) in enumerate(names):
            count = total // len(names)
            label = np.roll(labels(total, len(kind.names)), -number * count)[:count]
            rows = np.repeat(label[:, None], 3072, axis=1)
            rows[:, 1024:2048] = np.arange(1024) % 32
            files[name] = pickle.dumps({"data": rows, key: label.tolist()})
    return files


def tgz(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Shelf:
    """What torchvision's class is told to be published, and what the server gives for it."""

    def __init__(self, kind: type[PublishedImages], server: LocalServer, patch: pytest.MonkeyPatch) -> None:
        self.kind, self.server, self.patch = kind, server, patch
        self.source = getattr(datasets, kind.__name__)
        self.files = mnist_files(kind) if kind in (MNIST, FashionMNIST) else cifar_files(kind, self.source)
        patch.setattr(kind, "sizes", SIZES[kind])
        if kind in (MNIST, FashionMNIST):
            self.archives = {f"{name}.gz": gzip.compress(body) for name, body in self.files.items()}
            patch.setattr(self.source, "resources", [(name, md5(body)) for name, body in self.archives.items()])
            patch.setattr(self.source, "mirrors", [f"{server.address}/none/", f"{server.address}/"])
        else:
            self.publish({f"{self.source.base_folder}/{name}": body for name, body in self.files.items()})
            for part in ("train_list", "test_list"):
                names = [name for name, _ in getattr(self.source, part)]
                patch.setattr(self.source, part, [[name, md5(self.files[name])] for name in names])
            meta = self.source.meta
            patch.setattr(self.source, "meta", meta | {"md5": md5(self.files[meta["filename"]])})
            patch.setattr(self.source, "url", f"{server.address}/{self.source.filename}")
        self.serve(*self.archives.values())

    def publish(self, files: dict[str, bytes]) -> None:
        self.archives = {self.source.filename: tgz(files)}
        self.patch.setattr(self.source, "tgz_md5", md5(self.archives[self.source.filename]))

    def serve(self, *bodies: bytes | Answer) -> None:
        for name, body in zip(self.archives, bodies, strict=True):
            self.server.serve(name, body)

    def data(self, root: Path, **kwargs: Any) -> PublishedImages:
        return self.kind(root=str(root), **kwargs)


@pytest.fixture(params=ALL, ids=lambda kind: kind.__name__)
def shelf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    with local_server() as server:
        yield Shelf(request.param, server, monkeypatch)


def on_disk(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def one_line(kind: type[Exception], data: PublishedImages) -> str:
    with pytest.raises(kind) as caught:
        data.prepare_data()
    line = str(caught.value)
    assert "\n" not in line
    assert ".part" not in line
    return line


def test_files_are_downloaded_once_and_read(shelf: Shelf, tmp_path: Path) -> None:
    for name, body in shelf.archives.items():  # the first transfer breaks off
        shelf.server.serve(name, Answer(body[:100], length=len(body)), body)
    data, kind = shelf.data(tmp_path), shelf.kind
    data.prepare_data()
    assert on_disk(tmp_path) == sorted([*shelf.archives, *shelf.files])
    train, validation, test = (data.images(name) for name in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == SIZES[kind]
    assert data.cond_spec["label"]["names"] == list(kind.names)
    for split in (train, validation, test):
        assert split.pixels.shape[1:] == data.image_shape
        assert split.pixels.dtype == torch.uint8
        counts = torch.bincount(split.cond["label"], minlength=len(kind.names))
        assert counts.tolist() == [len(split) // len(kind.names)] * len(kind.names)
        assert torch.equal(split.pixels[:, 0, 16, 16].long(), split.cond["label"])
    if len(data.image_shape) and data.image_shape[0] == 3:
        assert test.pixels[0, 1, 9].tolist() == list(range(32))
    else:
        assert int(test.pixels[:, :, :2].max()) == int(test.pixels[..., -2:].max()) == 0
    asked = len(shelf.server.asked)
    again = shelf.data(tmp_path, download=False)
    again.prepare_data()
    shelf.data(tmp_path).prepare_data()
    assert len(shelf.server.asked) == asked
    assert again.fingerprint("test") == data.fingerprint("test") != data.fingerprint("train")


def test_an_archive_that_is_there_is_used_if_it_is_the_right_one(shelf: Shelf, tmp_path: Path) -> None:
    data = shelf.data(tmp_path)
    data.prepare_data()
    for path in data.files(train=True) + data.files(train=False):
        path.unlink()
    if data.folder.name != "raw":  # the archives lie beside the folder
        for path in data.folder.iterdir():
            path.unlink()
    asked = len(shelf.server.asked)
    data.prepare_data()
    assert len(shelf.server.asked) == asked
    first = next(path for path in tmp_path.rglob("*.gz"))
    body = first.read_bytes()
    first.write_bytes(body[:50])
    expanded = first.with_suffix("") if data.folder.name == "raw" else None
    if expanded:
        expanded.unlink()
    else:
        for path in data.folder.iterdir():
            path.unlink()
    data.prepare_data()
    assert len(shelf.server.asked) > asked
    assert first.read_bytes() == body


def test_what_cannot_be_had_is_said_and_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    root, kind = tmp_path / "root", shelf.kind
    missing = f"no {kind.title} in {shelf.data(root).folder}"
    remedy = "; set data.root to a folder that holds it"
    assert (
        one_line(FileNotFoundError, shelf.data(root, download=False)) == f"{missing}{remedy}, or data.download to true"
    )
    count = len(shelf.archives)
    for answer, reason in (
        (Answer(code=404), "cannot be downloaded: HTTP 404 Not Found"),
        (Answer(code=500), "cannot be downloaded: HTTP 500 Internal Server Error (4 tries)"),
        (Answer(b"half", length=1000), "cannot be downloaded: it broke off after 4 of 1,000 bytes (4 tries)"),
        (Answer(b"other"), f"that is due: its MD5 is {md5(b'other')}, not "),
    ):
        shelf.serve(*[answer] * count)
        line = one_line(FileNotFoundError, shelf.data(root))
        assert line.startswith(f"{missing}: {shelf.server.address}")
        assert line.endswith(remedy)
        assert reason in line
        assert on_disk(root) == []
        assert not root.exists() or os.listdir(root) == []


def test_damaged_files_are_refused_and_kept(shelf: Shelf, tmp_path: Path) -> None:
    data = shelf.data(tmp_path)
    data.prepare_data()
    for train in (False, True):
        file = data.files(train=train)[0]
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(ValueError, match=rf"{data.title} in .* is damaged: .*; delete it and download it again"):
            shelf.data(tmp_path).images("train" if train else "test")
        assert file.stat().st_size == 100
    assert "is damaged" in one_line(ValueError, shelf.data(tmp_path))


def test_two_programs_at_once_both_end_well(shelf: Shelf, tmp_path: Path) -> None:
    failed: list[Exception] = []

    def prepare() -> None:
        try:
            shelf.data(tmp_path).prepare_data()
        except Exception as error:
            failed.append(error)

    threads = [Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert on_disk(tmp_path) == sorted([*shelf.archives, *shelf.files])


@pytest.mark.parametrize("shelf", [CIFAR10], indirect=True)
def test_a_folder_that_comes_while_its_archive_is_downloaded_is_taken(shelf: Shelf, tmp_path: Path) -> None:
    def slowly(*args: Any) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cifar, "fetch_archive", fetch_archive)
            shelf.data(tmp_path).prepare_data()
        return fetch_archive(*args)

    shelf.patch.setattr(cifar, "fetch_archive", slowly)
    shelf.data(tmp_path).prepare_data()
    assert on_disk(tmp_path) == sorted([*shelf.archives, *shelf.files])


@pytest.mark.parametrize("shelf", [CIFAR10], indirect=True)
def test_an_archive_that_is_hostile_or_another_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    folder = shelf.source.base_folder
    for name, reason in ((f"{folder}/../../up", "leads out of its folder"), ("other/data", "holds no file below")):
        root = tmp_path / "a" / "b" / reason
        shelf.publish({name: b"1"})
        shelf.serve(*shelf.archives.values())
        assert reason in one_line(FileNotFoundError, shelf.data(root))
        assert on_disk(tmp_path / "a") == [shelf.source.filename]
        (root / shelf.source.filename).unlink()


@pytest.mark.parametrize("shelf", [CIFAR10, CIFAR100], indirect=True)
def test_labels_mean_what_the_files_say(shelf: Shelf, tmp_path: Path) -> None:
    shelf.patch.setattr(shelf.kind, "names", shelf.kind.names[::-1])
    data = shelf.data(tmp_path)
    data.prepare_data()
    with pytest.raises(ValueError, match=rf"{data.title} in .* has other classes: {shelf.kind.names[-1]}, "):
        data.images("test")


@pytest.mark.parametrize("shelf", [FashionMNIST, CIFAR100], indirect=True)
def test_the_configs_train(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "fashion_mnist" if shelf.kind is FashionMNIST else "cifar100"
    args = ["-c", "trainer/default.yaml", "-c", f"data/{name}.yaml", "-c", "model/dcgan.yaml"]
    steps = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "1", "--trainer.accelerator", "cpu"]
    assert main(["fit", *args, *steps, "--model.generator.width", "4", "--model.discriminator.width", "4"]) == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert on_disk(tmp_path / "data") == sorted([*shelf.archives, *shelf.files])


def test_classes_are_torchvisions() -> None:
    assert list(FashionMNIST.names) == datasets.FashionMNIST.classes
    assert len(set(CIFAR100.names)) == 100
    assert list(CIFAR100.names) == sorted(CIFAR100.names)


def test_mnist_is_padded_and_split() -> None:
    data = MNIST(root=str(mnist_root()), download=False)
    assert data.image_shape == (1, 32, 32)
    data.prepare_data()
    train, validation, test = (data.images(name) for name in ("train", "validation", "test"))
    assert [len(s) for s in (train, validation, test)] == [55_000, 5_000, 10_000]
    assert test.pixels.shape == (10_000, 1, 32, 32)
    assert int(test.pixels[:, :, :2].max()) == int(test.pixels[..., -2:].max()) == 0
    assert test.cond["label"][:5].tolist() == [7, 2, 1, 0, 4]
    counts = torch.bincount(train.cond["label"]) + torch.bincount(validation.cond["label"])
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_styles_are_of_the_image_in_training_and_of_another_class_elsewhere(shelf: Shelf, tmp_path: Path) -> None:
    data, plain = shelf.data(tmp_path, style=True), shelf.data(tmp_path)
    data.prepare_data()
    assert data.cond_spec["style"] == {"channels": data.image_shape[0]}
    train = data.images("train").all()
    assert torch.equal(train.cond["style"], train.pixels)
    for split in ("validation", "test"):
        rows = data.images(split).all()
        shown = rows.cond["style"][:, 0, 16, 16].long()  # the label, as these images are made
        assert (shown != rows.cond["label"]).all()
        assert len(shown.unique()) > len(shelf.kind.names) / 3
        assert torch.equal(shown, rows.cond["label"][of_other_classes(rows.cond["label"])])
        assert data.fingerprint(split) != plain.fingerprint(split)
    assert "style" not in plain.images("train").all().cond


def test_any_image_of_another_class_may_be_drawn() -> None:
    label = torch.tensor([0] * 40 + [2] * 20 + [1] * 5)[torch.randperm(65, generator=torch.Generator().manual_seed(0))]
    found = label[of_other_classes(label)]
    assert (found != label).all()
    shares = found[label == 1].bincount(minlength=3) / 5
    assert shares[1] == 0
    many = label.repeat(100)
    found = many[of_other_classes(many)]
    assert float((found[many == 0] == 2).float().mean()) == pytest.approx(20 / 25, abs=0.03)
    assert float((found[many == 2] == 0).float().mean()) == pytest.approx(40 / 45, abs=0.03)
