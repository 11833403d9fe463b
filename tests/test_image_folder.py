"""The user's own images: classes and splits by folders, decoded once into a mapped array, damage named or left out."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from test_stores import WAYS, as_folder, as_zip

from condgen.cli import main
from condgen.data import BatchLoader, DamagedImagesError, ImageFolder, Images, ImageSet, Part, RandomSplit
from condgen.data import decoded as decoded_module
from condgen.data.image_folder import inner_names
from condgen.data.splits import deal


def png(level: int, size: tuple[int, int] = (8, 8)) -> bytes:
    from io import BytesIO

    out = BytesIO()
    Image.new("RGB", size, (level, level, 255 - level)).save(out, format="PNG")
    return out.getvalue()


def pictures(classes: dict[str, int], prefix: str = "") -> dict[str, bytes]:
    """Some pictures a class; the level is the number of the picture among all."""
    names = [f"{prefix}{name}/{i:03d}.png" for name, count in classes.items() for i in range(count)]
    return {name: png(level) for level, name in enumerate(names)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def levels(images: Images) -> list[int]:
    return images.all().pixels[:, 0, 0, 0].tolist()


SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize("cache_gib", [8.0, 0.0])
@pytest.mark.parametrize("write", WAYS)
def test_folders_are_classes(write: Callable[..., Path], cache_gib: float, tmp_path: Path) -> None:
    data = ImageFolder(str(write(tmp_path / "set", pictures({"dog": 20, "cat": 10}))), 8, cache_gib=cache_gib)
    assert data.image_shape == (3, 8, 8)
    assert data.cond_spec == {"label": {"names": ["cat", "dog"]}}
    splits = {name: data.images(name) for name in SPLITS}
    assert [len(split) for split in splits.values()] == [24, 3, 3]
    assert sorted(level for split in splits.values() for level in levels(split)) == list(range(30))
    for split, per_class in zip(splits.values(), ([8, 16], [1, 2], [1, 2]), strict=True):
        rows = split.all()
        assert torch.bincount(rows.cond["label"]).tolist() == per_class
        assert torch.equal(rows.cond["label"], (rows.pixels[:, 0, 0, 0] < 20).long())
        assert torch.equal(rows.pixels[:, 2], 255 - rows.pixels[:, 0])


def test_splits_are_those_of_the_folders_and_the_rest_is_cut_out(tmp_path: Path) -> None:
    files = pictures({"a": 20, "b": 20}, "set/train/") | pictures({"a": 3, "b": 2}, "set/test/")
    data = ImageFolder(str(as_zip(tmp_path / "set", files)), 8, split=RandomSplit(validation=0.25))
    assert [len(data.images(name)) for name in SPLITS] == [30, 10, 5]
    assert levels(data.images("test")) == [0, 1, 2, 3, 4]
    assert torch.bincount(data.images("validation").all().cond["label"]).tolist() == [5, 5]
    other = ImageFolder(str(tmp_path / "set.zip"), 8, split=RandomSplit(validation=0.25, seed=1))
    assert levels(other.images("validation")) != levels(data.images("validation"))
    assert other.fingerprint("train") != data.fingerprint("train")
    assert other.fingerprint("test") == data.fingerprint("test")


def test_flat_folders_have_no_labels_and_named_classes_may_be_chosen(tmp_path: Path) -> None:
    flat = ImageFolder(str(as_folder(tmp_path / "flat", {f"{i}.png": png(i) for i in range(10)})), 8)
    assert flat.cond_spec == {}
    assert flat.images("train").all().cond == {}
    root = str(as_folder(tmp_path / "set", pictures({"a": 10, "b": 10, "c": 10})))
    assert ImageFolder(root, 8, ["c", "a"]).cond_spec["label"]["names"] == ["c", "a"]
    rows = ImageFolder(root, 8, ["c", "a"]).images("train").all()
    assert torch.equal(rows.cond["label"], (rows.pixels[:, 0, 0, 0] < 10).long())
    with pytest.raises(ValueError, match=r"no images of class zebra in"):
        ImageFolder(root, 8, ["zebra", "a"]).prepare_data()


def test_what_folders_cannot_be_is_refused(tmp_path: Path) -> None:
    def error(files: dict[str, bytes]) -> str:
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            ImageFolder(str(as_folder(tmp_path / "set", files)), 8).prepare_data()
        return str(caught.value)

    assert error({"notes.txt": b"x"}).startswith(f"{tmp_path}/set holds no images, but notes.txt; images end in .bmp")
    assert "in class subfolders and 1 beside them, such as top.png" in error({"top.png": png(0), "a/1.png": png(1)})
    assert "there are no training images, but only those for test" in error(pictures({"a": 3}, "test/"))
    only_test = pictures({"a": 3}, "train/") | pictures({"b": 3}, "test/")
    assert error(only_test) == f"class b of {tmp_path}/set has no training images"
    with pytest.raises(FileNotFoundError, match=r"set data\.root"):
        ImageFolder(str(tmp_path / "nowhere"), 8).prepare_data()
    with pytest.raises(ValueError, match=r"split.test must be above 0 and below 1, got 1.5"):
        RandomSplit(test=1.5)
    with pytest.raises(ValueError, match="image_size must be at least 1, got 0"):
        ImageFolder("x", 0)
    with pytest.raises(ValueError, match="workers must be at least 0, got -1"):
        ImageFolder("x", 8, workers=-1)


def test_one_folder_around_all_is_left_out() -> None:
    assert inner_names(["x/a/1.png", "x/b/2.png"]) == ["a/1.png", "b/2.png"]
    assert inner_names(["x/y/train/a/1.png"]) == ["train/a/1.png"]
    assert inner_names(["a/1.png", "a/2.png"]) == ["a/1.png", "a/2.png"]
    assert inner_names(["train/a/1.png"]) == ["train/a/1.png"]


def test_deals_add_up_and_are_in_proportion() -> None:
    strata = torch.tensor([0] * 7 + [1] * 3 + [2] * 90)
    dealt = deal(strata, [0.1, 0.2], seed=0)
    assert torch.bincount(dealt).tolist() == [70, 10, 20]
    assert torch.bincount(dealt[strata == 2]).tolist() == [63, 9, 18]
    assert torch.equal(dealt, deal(strata, [0.1, 0.2], seed=0))
    assert not torch.equal(dealt, deal(strata, [0.1, 0.2], seed=1))


# ---------------------------------------------------------------------- pixels


def test_pictures_are_cut_or_squeezed_and_resampled(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    root = str(as_folder(tmp_path / "set", {f"{i}.png": (tmp_path / "wide.png").read_bytes() for i in range(9)}))
    assert (ImageFolder(root, 5).images("train").all().pixels == 255).all()
    squeezed = ImageFolder(root, 30, crop=False, grey=True).images("train").all().pixels
    assert squeezed.shape[1:] == (1, 30, 30)
    expected = np.asarray(Image.fromarray(wide).convert("L").resize((30, 30), Image.Resampling.BICUBIC))
    assert np.array_equal(squeezed[0, 0].numpy(), expected)


# ---------------------------------------------------------------------- cache


def test_the_second_start_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    root = as_folder(tmp_path / "set", pictures({"a": 20, "b": 20}))
    first = ImageFolder(str(root), 8)
    first.prepare_data()
    assert [path.name for path in own_cache.iterdir()]
    with monkeypatch.context() as patch:
        patch.setattr(decoded_module, "make", None)
        again = ImageFolder(str(root), 8)
        assert levels(again.images("train")) == levels(first.images("train"))
        assert again.fingerprint("train") == first.fingerprint("train")
    (root / "a" / "000.png").write_bytes(png(77))
    changed = ImageFolder(str(root), 8)
    assert 77 in [level for name in SPLITS for level in levels(changed.images(name))]
    assert changed.fingerprint("train") != first.fingerprint("train") or changed.fingerprint(
        "validation"
    ) != first.fingerprint("validation")


@pytest.mark.parametrize("spoil", ["flip", "cut", "card"])
def test_a_damaged_cache_is_made_anew(spoil: str, tmp_path: Path, own_cache: Path) -> None:
    root = as_folder(tmp_path / "set", pictures({"a": 20, "b": 20}))
    before = levels(ImageFolder(str(root), 8).images("train"))
    (folder,) = own_cache.iterdir()
    array = folder / "pixels.npy"
    if spoil == "flip":
        raw = bytearray(array.read_bytes())
        raw[-100] ^= 1
        array.write_bytes(raw)
    elif spoil == "cut":
        os.truncate(array, 1000)
    else:
        (folder / "card.json").write_text('{"content": 3')
    assert levels(ImageFolder(str(root), 8).images("train")) == before


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = as_folder(tmp_path / "set", pictures({"a": 20}))
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot be written: .*CONDGEN_CACHE names another folder"):
        ImageFolder(str(root), 8).prepare_data()


def test_what_a_killed_process_left_is_swept_after_a_day(tmp_path: Path, own_cache: Path) -> None:
    for name, age in ((".old.part", 90_000), (".new.part", 10)):
        (own_cache / name).mkdir(parents=True)
        (own_cache / name / "pixels.npy").write_bytes(b"x")
        os.utime(own_cache / name, (time.time() - age,) * 2)
    ImageFolder(str(as_folder(tmp_path / "set", pictures({"a": 20}))), 8).prepare_data()
    assert [path.name for path in own_cache.iterdir() if path.suffix == ".part"] == [".new.part"]


# ---------------------------------------------------------------------- damage


@pytest.mark.parametrize("cache_gib", [8.0, 0.0])
def test_damaged_files_are_named_or_left_out(
    cache_gib: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = pictures({"a": 30, "b": 30})
    files |= {"a/003.png": b"", "b/007.png": files["b/007.png"][:-20], "b/009.png": b"hello"}
    root = str(as_folder(tmp_path / "set", files))
    with pytest.raises(DamagedImagesError) as caught:
        ImageFolder(root, 8, cache_gib=cache_gib).prepare_data()
    for name, why in (("a/003.png", "empty file"), ("b/007.png", "damaged"), ("b/009.png", "not an image file")):
        assert f"{root}/{name}: {why}" in str(caught.value)
    assert f"; on_error skip leaves them out, condgen data check {root} --all" in str(caught.value)
    data = ImageFolder(root, 8, on_error="skip", cache_gib=cache_gib)
    data.prepare_data()
    assert "left out: 3 of 60 images" in caplog.text
    seen = sorted(level for name in SPLITS for level in levels(data.images(name)))
    assert seen == sorted(set(range(60)) - {3, 37, 39})


def test_a_file_that_is_damaged_later_is_named_when_it_is_read(tmp_path: Path) -> None:
    root = as_folder(tmp_path / "set", pictures({"a": 30}))
    data = ImageFolder(str(root), 8, cache_gib=0.0)
    data.prepare_data()
    for file in root.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"a/\d+.png: empty file"):
        data.images("train").take(torch.arange(3))


# ---------------------------------------------------------------------- batches


def seen_by(loader: BatchLoader) -> list[list[int]]:
    return [batch["pixels"][:, 0, 0, 0].tolist() for batch in loader]


def test_two_processes_with_two_workers_see_each_image_once_an_epoch(tmp_path: Path) -> None:
    """The same batches whether images are read by workers from tar files, or come from an array in memory."""
    root = WAYS[-1](tmp_path / "shards", pictures({"a": 25, "b": 25}))
    sets = [ImageFolder(str(root), 8, cache_gib=limit).images("train") for limit in (8.0, 0.0)]

    def loaders(images: Images, workers: int) -> list[BatchLoader]:
        settings = {"shuffle": True, "world_size": 2, "workers": workers}
        return [BatchLoader(images, 5, rank=rank, **settings) for rank in range(2)]

    in_memory, streamed = loaders(sets[0], 0), loaders(sets[1], 2)
    for _ in range(10):
        epochs = [[seen_by(loader) for loader in both] for both in (in_memory, streamed)]
        assert epochs[0] == epochs[1]
        seen = sorted(level for batches in epochs[1] for batch in batches for level in batch)
        assert seen == sorted(levels(sets[0]))


@pytest.mark.parametrize("cache_gib", [8.0, 0.0])
def test_a_loader_goes_on_in_mid_epoch(cache_gib: float, tmp_path: Path) -> None:
    root = str(as_folder(tmp_path / "set", pictures({"a": 30, "b": 30})))

    def loader() -> BatchLoader:
        return ImageFolder(root, 8, cache_gib=cache_gib, batch_size=8).train_dataloader()

    first = loader()
    whole = seen_by(first) + seen_by(first)
    second, head = loader(), []
    for batch in second:
        head.append(batch["pixels"][:, 0, 0, 0].tolist())
        if len(head) == 4:
            break
    third = loader()
    third.load_state_dict(second.state_dict())
    assert (head + seen_by(third) + seen_by(third))[: len(whole)] == whole


class Drifting(Images):
    """A set whose rows tell the epoch."""

    def __init__(self, epoch: int = -1) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 8

    def take(self, index: torch.Tensor) -> ImageSet:
        return ImageSet(torch.full((len(index), 1, 1, 1), self.epoch + 1, dtype=torch.uint8), {})

    def in_epoch(self, epoch: int) -> Images:
        return Drifting(epoch)


def test_training_alone_sees_what_changes_with_the_epoch() -> None:
    loader = BatchLoader(Drifting(), 4, shuffle=True)
    assert [seen_by(loader) for _ in range(3)] == [[[e] * 4] * 2 for e in (1, 2, 3)]
    assert seen_by(BatchLoader(Part(Drifting(), torch.arange(4)), 4, shuffle=True)) == [[1] * 4]
    assert seen_by(BatchLoader(Drifting(), 4, shuffle=False)) == [[0] * 4] * 2


def test_a_folder_trains_and_resumes_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    as_folder(tmp_path / "set", pictures({"a": 40, "b": 40}))
    data = ["--data", "ImageFolder", "--data.root", "set", "--data.image_size", "8", "--data.split.validation", "0.2"]
    nets = ["--model.generator.width", "4", "--model.discriminator.width", "4"]
    steps = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu"]
    configs = ["-c", "trainer/default.yaml", "-c", "model/dcgan.yaml"]
    assert main(["fit", *configs, *data, *nets, *steps]) == 0
    assert len(list(tmp_path.glob("runs/*/*/checkpoints/last.ckpt"))) == 1


def test_augmentation_moves_masks_and_sources_with_their_images() -> None:
    from condgen.data import RandomFlip
    from condgen.data.base import ImageDataModule, Split

    class Pairs(ImageDataModule):
        image_shape = (1, 4, 4)

        def load(self, split: Split) -> Images:
            raise NotImplementedError

    data = Pairs(4, 4, RandomFlip())
    data.cond_spec = {"mask": {"num_classes": 16}, "source": {"channels": 1}}
    data.trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    data.trainer.state.stage = "train"
    pixels = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4).repeat(64, 1, 1, 1)
    raw = {"pixels": pixels, "cond": {"mask": pixels[:, 0], "source": pixels}, "index": torch.arange(64), "batch": 3}
    batch = data.on_after_batch_transfer(raw, 0)
    moved = (batch["image"] + 1.0).mul(127.5).round().long()
    assert 16 < int((moved[:, 0, 0, 0] == 3).sum()) < 48
    assert torch.equal(batch["cond"]["mask"], moved[:, 0])
    assert torch.equal(batch["cond"]["source"], batch["image"])
