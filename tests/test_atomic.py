"""Checkpoints are whole or not there, and an altered one is never taken for a good one."""

from __future__ import annotations

import errno
import io
import os
import random
import resource
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import same_weights, small_cgan

from condgen.checkpoints import AtomicCheckpointIO, CheckpointError, find_checkpoint, load_model, read_checkpoint
from condgen.checkpoints.atomic import write_sealed
from condgen.checkpoints.sealed import COMMENT, SealedWriter, check_seal
from condgen.data import Digits
from condgen.models import CGAN

IO = AtomicCheckpointIO()


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """What a trained model's checkpoint holds."""
    data = Digits()
    L.seed_everything(0, verbose=False)
    model = small_cgan(data)
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_steps=2, logger=False, enable_checkpointing=False, limit_val_batches=0,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data)
    return trainer._checkpoint_connector.dump_checkpoint(weights_only=False)


@pytest.fixture
def run(content: dict[str, Any], tmp_path: Path) -> Path:
    """A run with a last checkpoint and two older ones."""
    folder = tmp_path / "run" / "checkpoints"
    for name in ("images=000000064", "images=000000128", "last"):
        IO.save_checkpoint(content, folder / f"{name}.ckpt")
    return tmp_path / "run"


def flip(path: Path, place: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def test_a_sealed_file_is_a_zip_file_that_torch_reads(content: dict[str, Any], run: Path) -> None:
    file = run / "checkpoints" / "last.ckpt"
    check_seal(file)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert len(archive.comment) == COMMENT
        assert archive.comment.startswith(b"condgen sha256 ")
    plain = torch.load(file, weights_only=True)
    assert plain["condgen"] == content["condgen"]
    assert all(torch.equal(plain["state_dict"][key], value) for key, value in content["state_dict"].items())
    assert IO.load_checkpoint(file)["global_step"] == 2


@pytest.mark.parametrize("sizes", [[22], [1] * 30, [21, 1], [1, 21], [22, 22], [100, 3, 22], [5, 30, 40, 2]])
def test_the_end_record_is_found_however_the_bytes_come(sizes: list[int], tmp_path: Path) -> None:
    total, start = sum(sizes), 0
    data = bytes(random.Random(0).randrange(256) for _ in range(total - 22)) + b"PK\x05\x06" + bytes(18)
    file = io.BytesIO()
    writer = SealedWriter(file)
    for size in sizes:
        assert writer.write(memoryview(data)[start : start + size]) == size
        start += size
    writer.seal()
    assert file.getvalue()[: total - 2] == data[:-2]
    (tmp_path / "file").write_bytes(file.getvalue())
    check_seal(tmp_path / "file")


def test_no_altered_byte_is_read_silently(content: dict[str, Any], tmp_path: Path) -> None:
    """A bit at every kind of place: contents, directory, end record, comment."""
    write_sealed({"condgen": {}, "weights": content["state_dict"]["generator.net.layers.0.weight"]}, tmp_path / "a")
    data, path = (tmp_path / "a").read_bytes(), tmp_path / "b.ckpt"
    places = [*range(0, len(data) - 200, 37), *range(len(data) - 200, len(data))]
    for place in places:
        path.write_bytes(data)
        flip(path, place, place % 8)
        with pytest.raises(CheckpointError, match="damaged"):
            read_checkpoint(path)
    for size in (0, 1, len(data) // 2, len(data) - COMMENT, len(data) - 64, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            read_checkpoint(path)


def test_a_checkpoint_of_torch_save_alone_is_read(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "plain.ckpt")
    assert load_model(tmp_path / "plain.ckpt").batches_seen == 2


def test_altered_weights_are_noticed_where_there_is_no_seal(content: dict[str, Any], run: Path, tmp_path: Path) -> None:
    """As `torch.save` leaves a file, and as one is whose seal was cut off."""
    plain, cut = tmp_path / "plain.ckpt", tmp_path / "cut.ckpt"
    torch.save(content, plain)
    cut.write_bytes((run / "checkpoints" / "last.ckpt").read_bytes()[: -COMMENT - 2] + bytes(2))
    weight = content["state_dict"]["generator.net.layers.0.weight"].numpy().tobytes()
    for file in (plain, cut):
        assert load_model(file).batches_seen == 2
        flip(file, file.read_bytes().index(weight) + 3, 6)
        with pytest.raises(CheckpointError, match=r"the checksum of '.*/data/.*' in it is not the one"):
            load_model(file)
    cut.write_bytes(b"PK\x05\x06" + bytes(6) + b"\xff" * 10 + bytes(2))
    with pytest.raises(CheckpointError, match="it is no whole zip file"):
        load_model(cut)


def test_a_damaged_last_falls_back_and_says_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = run / "checkpoints" / "last.ckpt"
    assert find_checkpoint(run) == last
    assert capsys.readouterr().out == ""
    flip(last, 500)
    assert find_checkpoint(run).name == "images=000000128.ckpt"
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        f"warning: {last} is damaged: its sha256 is not the one that was saved with it; "
        "images=000000128.ckpt is taken in its place"
    )
    flip(run / "checkpoints" / "images=000000128.ckpt", 500)
    assert load_model(run).batches_seen == 2
    assert "images=000000064.ckpt is taken" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(last)
    flip(run / "checkpoints" / "images=000000064.ckpt", 500)
    with pytest.raises(CheckpointError, match="has no other checkpoint that is whole"):
        load_model(run)


def test_a_pipe_is_not_waited_for(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last, others = run / "checkpoints" / "last.ckpt", sorted(run.glob("checkpoints/images=*.ckpt"))
    last.unlink()
    os.mkfifo(last)
    assert load_model(run).batches_seen == 2
    assert "last.ckpt is damaged: it is not a regular file; images=000000128.ckpt is taken" in capsys.readouterr().out
    for other in others:
        other.unlink()
        os.mkfifo(other)
    with pytest.raises(CheckpointError, match=r"last\.ckpt is damaged: it is not a regular file; the run has no other"):
        load_model(run)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_model(last)
    with pytest.raises(CheckpointError, match="it is not a regular file"):
        IO.load_checkpoint(last)


def test_leftovers_are_swept_by_the_next_save(content: dict[str, Any], run: Path) -> None:
    folder = run / "checkpoints"
    (folder / ".last.ckpt.0123456789abcdef.part").write_bytes(b"half")
    IO.save_checkpoint(content, folder / "last.ckpt")
    assert {path.name for path in folder.iterdir()} == {
        "images=000000064.ckpt",
        "images=000000128.ckpt",
        "last.ckpt",
    }


class Full:
    """Lets an operating system's function fail when it is called for the `after`-th time."""

    def __init__(self, function: Callable[..., Any], after: int, number: int) -> None:
        self.function, self.left, self.number = function, after, number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise OSError(self.number, os.strerror(self.number))
        return self.function(*args, **kwargs)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_checkpoint(
    function: str, content: dict[str, Any], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = run / "checkpoints" / "last.ckpt"
    before = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, function, Full(getattr(os, function), 0, errno.EDQUOT))
        with pytest.raises(OSError, match=r"last\.ckpt cannot be written: Disk quota exceeded; it needs about [\d,]+"):
            IO.save_checkpoint({**content, "global_step": 9}, file)
    assert file.read_bytes() == before
    assert not list(file.parent.glob(".*"))


def in_child(work: Callable[[], int]) -> int:
    """Run something in a process of its own; return its code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_full_disk_is_named_with_the_bytes(content: dict[str, Any], run: Path) -> None:
    """For real: the kernel lets no file of this process grow beyond 10 kB."""
    file = run / "checkpoints" / "last.ckpt"
    before, need = file.read_bytes(), sum(value.nbytes for value in content["state_dict"].values())

    def save() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            IO.save_checkpoint({**content, "global_step": 9}, file)
        except OSError as error:
            words = (f"{file} cannot be written: File too large; it needs about", "bytes, and", "are free")
            return 17 if all(word in str(error) for word in words) else 18
        return 19

    assert in_child(save) == 17
    assert need > 10_000
    assert file.read_bytes() == before
    assert not list(file.parent.glob(".*"))


def test_a_folder_that_cannot_be_made_is_named(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        OSError, match=r"file/a\.ckpt cannot be written: .*; it needs about [\d,]+ bytes, and [\d,]+ are free"
    ):
        IO.save_checkpoint(content, tmp_path / "file" / "a.ckpt")


def test_code_is_not_run_by_the_trainer_s_own_loading(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    write_sealed({"x": Payload()}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="holds code: nothing was run"):
        IO.load_checkpoint(tmp_path / "evil.ckpt", weights_only=False)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(("function", "count", "new"), [("fsync", 0, False), ("replace", 0, False), ("fsync", 1, True)])
def test_a_process_killed_in_a_save_leaves_a_whole_checkpoint(
    function: str, count: int, new: bool, content: dict[str, Any], run: Path
) -> None:
    file, real, left = run / "checkpoints" / "last.ckpt", getattr(os, function), iter(range(count))

    def killing(*args: Any) -> Any:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)

    def save() -> int:
        setattr(os, function, killing)
        IO.save_checkpoint({"new": torch.ones(5)}, file)
        return 0

    assert in_child(save) == -signal.SIGKILL
    assert (IO.load_checkpoint(file).keys() == {"new"}) is new
    IO.save_checkpoint(content, file)
    assert not list(file.parent.glob(".*"))
    assert type(load_model(run)) is CGAN


def test_the_command_line_saves_this_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from condgen.cli import main

    monkeypatch.chdir(tmp_path)
    configs = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml"]
    more = ["--trainer.max_steps", "2", "--trainer.limit_val_batches", "0", "--trainer.accelerator", "cpu"]
    assert main(["fit", *configs, *more]) == 0
    files = list(tmp_path.rglob("*.ckpt"))
    assert len(files) == 2
    for file in files:
        assert len(zipfile.ZipFile(file).comment) == COMMENT
    assert same_weights(load_model(files[0]), load_model(files[1]))
