"""What `condgen data check` says of tar shards."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_files import picture
from test_tar_shards import sample, write_shard, write_shards

from condgen.cli import main


def test_data_check_looks_at_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_shards(tmp_path / "set", {"train/0": 20, "train/1": 10, "val/0": 6})
    assert main(["data", "check", root, "--all"]) == 0
    found = capsys.readouterr().out
    assert "36 images" in found
    assert "splits       train 30, val 6" in found
    assert "classes      3" in found
    assert "captions     36, 36 of them different" in found
    wrong = {"0001": sample(30), "0002": sample(2, png=picture(2)[:-9]), "0003": sample(3, png=None)}
    write_shard(tmp_path / "set" / "train" / "2.tar", wrong | {"0004": sample(4, txt=b"\xff")})
    assert main(["data", "check", root, "--all"]) == 1
    found = capsys.readouterr().out
    assert "train/2/0001.png = val/0/0000.png: the same file, in two splits" in found
    assert f"train/2/0002.png in {root}/train/2.tar: damaged" in found
    assert f"sample train/2/0003 of {root}: no image, but .cls, .json, .txt" in found
    assert f"sample train/2/0004 of {root}: .txt is not UTF-8: byte 0xff at position 0" in found
