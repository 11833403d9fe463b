"""`condgen sample` writes as it goes, whatever the file, the number of images and the number of processes."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import condgen.cli.wanted
from condgen.checkpoints import load_model
from condgen.cli import main
from condgen.cli.wanted import Wanted, processes
from condgen.cli.writers import open_writer
from condgen.models import GenerativeModel
from condgen.models.players import ConditionedNet
from condgen.pixels import to_uint8

ASKED = ["--label", "3,7,1", "--seeds", "0-9"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a small generator."""
    root = tmp_path_factory.mktemp("run")
    args = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml", "--runs", str(root)]
    short = ["--trainer.max_steps", "2", "--trainer.limit_val_batches", "0", "--trainer.accelerator", "cpu"]
    assert main(["fit", *args, *short, "--model.sample_chunk", "4", "--model.generator.hidden", "[32]"]) == 0
    (found,) = root.glob("*/*")
    return found


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condgen.cli.wanted, "BLOCK", 7)  # 30 images are then sampled as 4, 4, ...


def sample(run: Path, out: Path, *args: str) -> None:
    assert main(["sample", "--ckpt", str(run), "--out", str(out), *ASKED, *args]) == 0


def expected(run: Path) -> Tensor:
    model, label = load_model(run), torch.tensor([3, 7, 1]).repeat_interleave(10)
    return to_uint8(model.sample({"label": label}, seeds=torch.arange(10).repeat(3)))


def read_npz(path: Path) -> tuple[Tensor, list[int], list[int]]:
    with np.load(path) as file:
        return torch.from_numpy(file["images"]).permute(0, 3, 1, 2), file["labels"].tolist(), file["seeds"].tolist()


def read_tar(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def test_arrays_hold_all_images_with_labels_and_seeds(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample(run, tmp_path / "made.npz")
    images, labels, seeds = read_npz(tmp_path / "made.npz")
    assert torch.equal(images, expected(run))
    assert labels == [3] * 10 + [7] * 10 + [1] * 10
    assert seeds == [*range(10)] * 3
    said = capsys.readouterr().out
    assert "30 images in" in said
    assert "images/s" in said
    assert main(["evaluate", "data/digits.yaml", str(tmp_path / "made.npz"), "--extractor", "digits"]) == 0


def test_shards_and_folders_hold_the_same_pictures(run: Path, tmp_path: Path) -> None:
    sample(run, tmp_path / "made.tar")
    sample(run, tmp_path / "made")
    files = read_tar(tmp_path / "made.tar")
    names = [f"label={label}-seed={seed}" for label in (3, 7, 1) for seed in range(10)]
    assert list(files) == [f"{name}{end}" for name in names for end in (".png", ".cls")]
    assert {path.name for path in (tmp_path / "made").iterdir()} == {f"{name}.png" for name in names}
    for name, image in zip(names, expected(run), strict=True):
        for picture in (BytesIO(files[f"{name}.png"]), tmp_path / "made" / f"{name}.png"):
            with Image.open(picture) as found:
                assert np.array_equal(np.array(found), image[0].numpy())
    assert files["label=7-seed=4.cls"] == b"7"
    sample(run, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "made.tar").read_bytes()


@pytest.mark.parametrize("launcher", [("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")])
def test_processes_share_the_images(
    launcher: tuple[str, str], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = []
    for rank in range(4):
        monkeypatch.setenv(launcher[0], str(rank))
        monkeypatch.setenv(launcher[1], "4")
        sample(run, tmp_path / "made.npz")
        sample(run, tmp_path / "made")
        parts.append(read_npz(tmp_path / f"made-{rank:05d}-of-00004.npz"))
    assert [len(part[0]) for part in parts] == [8, 8, 7, 7]
    assert torch.equal(torch.cat([part[0] for part in parts]), expected(run))
    assert [seed for part in parts for seed in part[2]] == [*range(10)] * 3
    assert len(list((tmp_path / "made").iterdir())) == 30


def test_a_step_of_one_process_takes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "8")  # what a batch script has asked for, not what runs it
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert processes() == (0, 1)


@pytest.mark.parametrize("end", ["", ".npz", ".tar"])
def test_no_more_than_a_block_is_held(end: str, tmp_path: Path) -> None:
    wanted = Wanted({"label": torch.arange(2)}, ["a", "b"], [*range(1000)])
    alive: list[int] = []

    def block(numbers: Tensor) -> Tensor:
        alive.append(len(numbers))
        return torch.zeros(len(numbers), 1, 4, 4, dtype=torch.uint8)

    with open_writer(tmp_path / f"made{end}", wanted, (1, 4, 4)) as write:
        for numbers in wanted.blocks(chunk=64):
            write(block(numbers), numbers)
            if end == ".npz":
                (part,) = tmp_path.glob(".made*")
                assert part.stat().st_size >= 16 * sum(alive) - 2**17  # what a buffer of the file may hold back
    assert max(alive) == 64
    assert sum(alive) == 2000


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path: Path) -> None:
    wanted = Wanted({}, [""], [0, 1])
    for end in (".npz", ".tar"):
        with pytest.raises(KeyError), open_writer(tmp_path / f"made{end}", wanted, (1, 4, 4)):
            raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_bfloat16_and_other_chunks_change_images_by_rounding_alone(run: Path, tmp_path: Path) -> None:
    sample(run, tmp_path / "full.npz")
    sample(run, tmp_path / "half.npz", "--half", "--chunk", "3")
    full, half = (read_npz(tmp_path / f"{name}.npz")[0].float() for name in ("full", "half"))
    assert 0 < (full - half).abs().mean() < 4
    model = load_model(run)
    assert model.sampler_card == {"chunk": 4}
    model.half_samples = True
    assert model.sampler_card == {"chunk": 4, "half": True}


def test_compiled_nets_are_those_that_sample(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))  # noqa: PLW0108 - bound
    models: list[GenerativeModel] = []

    def spy(self: GenerativeModel, *args: object, **kwargs: object) -> Tensor:
        models.append(self)
        return torch.zeros(len(kwargs["seeds"]), 1, 8, 8)  # type: ignore[arg-type]

    monkeypatch.setattr(GenerativeModel, "sample", spy)
    sample(run, tmp_path / "made.npz", "--compile")
    net = models[0].sampling_net
    assert isinstance(net, ConditionedNet)
    assert compiled == [net.net]


@contextmanager
def two_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("RANK", "1")
        patch.setenv("WORLD_SIZE", "2")
        yield


def test_mistakes_are_one_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fails(*args: str) -> str:
        assert main(["sample", "--ckpt", str(run), *args]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    monkeypatch.chdir(tmp_path)
    assert "--chunk must be at least 1, got 0" in fails("--chunk", "0")
    assert "a .npz or .tar file, or a folder, got x.zip" in fails("--out", "x.zip")
    with two_processes(monkeypatch):
        assert "a grid is made by one process" in fails("--out", "x.png")
        assert "1 images cannot be shared by 2 processes" in fails("--out", "x.npz", "--n", "1", "--label", "3")
    assert list(tmp_path.iterdir()) == []
