"""Images of two domains, each with a source of the other one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from image_files import check_resume, picture, same, shared_file, stream, write, write_zip

from condgen.cli.data_config import data_module
from condgen.data import UnpairedFolders
from condgen.data.unpaired_folders import draw_sources
from condgen.seeding import generator

COUNTS = (30, 13)
SPLITS = ("train", "validation", "test")


def files(pattern: str, domains: tuple[str, str] = ("A", "B")) -> dict[str, bytes]:
    """30 and 13 training images and 4 of each domain for test; red tells domain and number."""
    out = {}
    for domain, (name, count) in enumerate(zip(domains, COUNTS, strict=True)):
        for i in range(count + 4):
            values = {"split": "test" if i >= count else "train", "domain": name, "n": f"{i:02d}"}
            out[pattern.format(**values)] = picture(100 * domain + 2 * i)
    return out


def red(pixels: torch.Tensor) -> torch.Tensor:
    return pixels[:, 0, 0, 0].int()


def check_domains(rows: Any) -> None:
    label = rows.cond["label"]
    assert torch.equal(red(rows.pixels) // 100, label)
    assert torch.equal(red(rows.cond["source"]) // 100, 1 - label)


def open_domains(root: Path, **kwargs: Any) -> UnpairedFolders:
    return UnpairedFolders(str(root), 8, **kwargs)


@pytest.mark.parametrize("pack", [write, write_zip])
@pytest.mark.parametrize("pattern", ["{split}{domain}/{n}.png", "horse2zebra/{split}_{domain}/{n}.png"])
def test_cyclegan_folders_are_read(pack: Callable[..., Path], pattern: str, tmp_path: Path) -> None:
    data = open_domains(pack(tmp_path / "ab.zip", files(pattern)))
    assert data.cond_spec == {"label": {"names": ["A", "B"]}, "source": {"channels": 3, "paired": False}}
    sizes = [torch.bincount(data.images(split).all().cond["label"]).tolist() for split in SPLITS]
    assert sizes == [[27, 12], [3, 1], [4, 4]]
    for split in SPLITS:
        check_domains(data.images(split).all())


def test_domains_may_be_named_folders(tmp_path: Path) -> None:
    root = write(tmp_path, files("{split}/{domain}/{n}.png", ("summer", "winter")))
    data = open_domains(root)
    assert data.cond_spec["label"]["names"] == ["summer", "winter"]
    check_domains(data.images("test").all())
    back = open_domains(root, domains=["winter", "summer"]).images("test").all()
    assert torch.equal(red(back.pixels) // 100, 1 - back.cond["label"])
    flat = write(tmp_path / "flat", files("{domain}/{n}.png", ("summer", "winter")))
    write(flat, {"autumn/1.png": picture(7)})
    data = open_domains(flat, domains=["summer", "winter"])
    assert sum(len(data.images(split)) for split in SPLITS) == sum(COUNTS) + 8
    check_domains(data.images("train").all())


def test_sources_are_drawn_as_often_as_each_other() -> None:
    label = torch.tensor([0] * 30 + [1] * 13)[torch.randperm(43)]
    source = draw_sources(label, generator("x"))
    assert torch.equal(label[source], 1 - label)
    uses = torch.bincount(source, minlength=43)
    assert set(uses[label == 1].tolist()) == {2, 3}
    assert set(uses[label == 0].tolist()) == {0, 1}
    assert int(uses[label == 0].sum()) == 13
    assert not torch.equal(draw_sources(label, generator("y")), source)


def test_each_epoch_has_new_sources_and_evaluation_has_its_own(tmp_path: Path) -> None:
    root = write(tmp_path, files("{split}{domain}/{n}.png"))

    def epochs(count: int) -> list[dict[int, int]]:
        """Source by target, for each epoch."""
        batches = stream(open_domains(root, batch_size=39), count)
        for batch in batches:
            assert len(batch["index"].unique()) == 39
        return [dict(zip(red(b["pixels"]).tolist(), red(b["cond"]["source"]).tolist(), strict=True)) for b in batches]

    first, second = epochs(2)
    assert first.keys() == second.keys()
    assert sum(first[k] != second[k] for k in first) > 20
    assert epochs(2) == [first, second]
    test = [open_domains(root).images("test").all() for _ in range(2)]
    L.seed_everything(5, verbose=False)
    assert epochs(1) != [first]
    test.append(open_domains(root).images("test").all())
    assert same(test[0].cond, test[1].cond)
    assert same(test[0].cond, test[2].cond)


@pytest.mark.parametrize("cache_gib", [8.0, 0.0])
def test_it_resumes_in_mid_epoch(cache_gib: float, tmp_path: Path) -> None:
    root = write(tmp_path, files("{split}{domain}/{n}.png"))
    check_resume(lambda: open_domains(root, cache_gib=cache_gib, batch_size=9, workers=0))


def test_workers_give_the_same_batches(tmp_path: Path) -> None:
    root = write(tmp_path, files("{split}{domain}/{n}.png"))
    one, two = (stream(open_domains(root, cache_gib=0.0, batch_size=13, workers=w), 4) for w in (0, 1))
    assert all(same(a, b) for a, b in zip(one, two, strict=True))


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    def error(name: str, content: dict[str, bytes], **kwargs: Any) -> str:
        data = open_domains(write(tmp_path / name, content), **kwargs)
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            data.images("test")
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(tmp_path / name), "ROOT")

    good = files("{split}{domain}/{n}.png")
    third = error("third", {f"{n}/1.png": picture(1) for n in ("cat", "dog", "eel")})
    assert third == "two folders of domains are due in ROOT, got cat, dog, eel; domains says which two are meant"
    assert error("flat", {"1.png": picture(1)}).startswith("two folders of domains are due in ROOT, got none")
    named = error("named", good, domains=["summer", "winter"])
    assert named == "two folders summer and winter are due in ROOT, got A, B"
    assert error("one", {k: v for k, v in good.items() if "testB" not in k}) == "ROOT has no test images of B"
    none = {k: v for k, v in good.items() if "trainB" not in k}
    assert error("none", none) == "class B of ROOT has no training images"
    with pytest.raises(ValueError, match="domains must be two names, got a, a"):
        open_domains(tmp_path, domains=["a", "a"])


def test_damaged_files_fail_or_are_left_out(tmp_path: Path) -> None:
    content = files("{split}{domain}/{n}.png")
    content["testA/31.png"] = b"no image"
    root = write(tmp_path, content)
    with pytest.raises(ValueError, match=r"1 of 51 images of .* are damaged: .*testA/31\.png: not an image file"):
        open_domains(root).prepare_data()
    rows = open_domains(root, on_error="skip").images("test").all()
    assert red(rows.pixels).tolist() == [60, 64, 66, 126, 128, 130, 132]
    check_domains(rows)


def test_its_fingerprint_is_that_of_the_files(tmp_path: Path) -> None:
    root = write(tmp_path, files("{split}{domain}/{n}.png"))
    first = open_domains(root).fingerprint("train")
    assert open_domains(root).fingerprint("train") == first
    assert open_domains(root, domains=["B", "A"]).fingerprint("train") != first
    write(root, {"trainA/00.png": picture(250)})
    assert open_domains(root).fingerprint("train") != first


def test_summer2winter_is_the_published_one() -> None:
    root = shared_file("SUMMER2WINTER/summer2winter_128.zip")
    data = data_module("data/summer2winter.yaml", ["--data.root", str(root), "--data.image_size", "32"])
    assert isinstance(data, UnpairedFolders)
    assert data.cond_spec["label"]["names"] == ["summer", "winter"]
    counts = [torch.bincount(data.listing.cond["label"][data.listing.splits[split]]).tolist() for split in SPLITS]
    assert [sum(pair) for pair in zip(*counts[:2], strict=True)] == [1231, 962]
    assert counts[2] == [309, 238]
    rows = data.images("test").take(torch.tensor([0, 400]))
    assert rows.cond["label"].tolist() == [0, 1]
    assert not torch.equal(rows.pixels, rows.cond["source"])
