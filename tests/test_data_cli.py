"""`condgen data check` names what is wrong with files; `condgen data show` draws what a model is shown."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_image_folder import png
from test_stores import as_folder, as_tar, as_zip

from condgen.cli import main
from condgen.data import Digits, ImageSet
from condgen.report.contact_sheet import TILE, contact_sheet


def noise(seed: int, format: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    out = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(out, format=format)
    return out.getvalue()


def check(path: Path, capsys: pytest.CaptureFixture[str], code: int) -> str:
    assert main(["data", "check", str(path)]) == code
    return capsys.readouterr().out


def good() -> dict[str, bytes]:
    names = [f"{split}/{c}/{i}.png" for split in ("train", "test") for c in ("cat", "dog") for i in range(4)]
    return {name: noise(seed) for seed, name in enumerate(names)}


@pytest.mark.parametrize("write", [as_folder, as_zip, as_tar])
def test_good_files_are_counted(write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = check(write(tmp_path / "set", good() | {"README.txt": b"x"}), capsys, 0)
    assert ": 16 images, 0.0 MB" in out
    assert "other files  1, such as README.txt" in out
    assert "splits       test 8, train 8" in out
    assert "classes      2\n  cat          8  ####" in out
    assert "sizes        8x8 16" in out
    assert "kinds        PNG RGB 16" in out
    assert out.endswith("nothing is wrong\n")


def test_what_is_wrong_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = good()
    files |= {"train/cat/cut.png": noise(99)[:-9], "train/dog/empty.png": b"", "train/dog/text.png": b"hello"}
    files |= {"test/cat/copy.png": files["train/cat/0.png"], "train/dog/copy.png": files["train/cat/1.png"]}
    files |= {"train/cat/again.png": files["train/cat/2.png"], "train/cat/flat.png": png(3)}
    files |= {"train/cat/really.png": noise(50, "JPEG"), "train/dog/wide.jpeg": noise(51, "JPEG", (9, 7))}
    out = check(as_folder(tmp_path / "set", files), capsys, 1)
    wrong = out[out.index("\nwrong") :]
    assert "wrong        5" in out
    assert f"{tmp_path}/set/train/cat/cut.png: damaged" in wrong
    assert f"{tmp_path}/set/train/dog/empty.png: empty file" in wrong
    assert f"{tmp_path}/set/train/dog/text.png: not an image file" in wrong
    assert "test/cat/copy.png = train/cat/0.png: the same file, in two splits" in wrong
    assert "train/cat/1.png = train/dog/copy.png: the same file, in two classes" in wrong
    odd = out[out.index("\nto look at") : out.index("\nwrong")]
    assert "train/cat/2.png = train/cat/again.png: the same file\n" in odd
    assert "train/cat/flat.png is one flat colour" in odd
    assert "train/cat/really.png is a JPEG file" in odd
    assert "wide.jpeg" not in odd
    assert "sizes        8x8 21, 9x7 1" in out


def test_long_lists_are_cut_unless_all_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = as_folder(tmp_path / "set", {f"a/{i:03d}.png": b"" for i in range(30)})
    out = check(root, capsys, 1)
    assert "and 10 more; --all names them" in out
    assert "029.png" not in out
    assert main(["data", "check", str(root), "--all"]) == 1
    assert "029.png" in capsys.readouterr().out


def test_what_cannot_be_checked_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "wrong        1\n  no images" in check(as_folder(tmp_path / "none", {"a.txt": b"x"}), capsys, 1)
    mixed = as_folder(tmp_path / "mixed", {"top.png": noise(1), "a/1.png": noise(2)})
    assert "in class subfolders and 1 beside them" in check(mixed, capsys, 1)
    for args, message in (
        (["check", str(tmp_path / "nowhere")], "no file or folder"),
        (["chekc"], "data: no verb 'chekc', did you mean 'check'"),
        (["check", "x", "--al"], "no option --al"),
        (["show", "data/digits.yaml", "--n", "0"], "--n must be at least 1, got 0"),
        (["show", "data/digits.yaml", "--out", "x.jpg"], "--out takes a .png, got x.jpg"),
        (["show", "data/mnist.yaml", "--data.root", str(tmp_path), "--data.download", "false"], "no MNIST"),
    ):
        assert main(["data", *args]) > 0
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_a_sheet_shows_the_images_of_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "show", "data/digits.yaml", "--n", "9", "--split", "test"]) == 0
    assert "360 test images (1, 8, 8); conditions: label" in capsys.readouterr().out
    assert Image.open(tmp_path / "data.png").size[0] == 8 * (TILE + 8) + 8


def test_a_sheet_shows_every_condition() -> None:
    rows = Digits().images("test").take(torch.arange(3))
    cond = {
        "label": rows.cond["label"],
        "attributes": torch.tensor([[0.5, 2.0]] * 3),
        "text": torch.tensor([list("a small \u00e9".encode().ljust(12, b"\0"))] * 3, dtype=torch.uint8),
        "source": rows.pixels.expand(-1, 3, -1, -1),
        "low_res": rows.pixels[:, :, ::2, ::2],
        "mask": (rows.pixels[:, 0] > 100).to(torch.uint8),
    }
    spec = {
        "label": {"names": [str(d) for d in range(10)]},
        "attributes": {"names": ["size", "x"]},
        "mask": {"num_classes": 2},
    }
    sheet = contact_sheet(ImageSet(rows.pixels, cond), spec)
    plain = contact_sheet(ImageSet(rows.pixels, {"label": cond["label"]}), spec)
    assert sheet.shape[2] == plain.shape[2]
    assert sheet.shape[1] >= plain.shape[1] + 3 * TILE
    top = sheet[:, 8 : 8 + TILE, 8 : 8 + TILE]
    expected = rows.pixels[0].repeat_interleave(TILE // 8, 1).repeat_interleave(TILE // 8, 2).expand(3, -1, -1)
    assert torch.equal(top, expected)
    assert set(map(int, torch.unique(sheet[:, 8 + 3 * TILE : 8 + 4 * TILE, 8 : 8 + TILE].sum(0)))) > {0}


def test_a_table_is_checked_with_the_files_that_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = as_folder(
        tmp_path / "set", {f"{i}.png": noise(i) for i in range(5)} | {"same.png": noise(0), "spare.png": noise(9)}
    )
    rows = [
        {"file": f"{i}.png", "kind": "ab"[i % 2], "part": "train", "said": [f"A dog {i}", "a dog"]} for i in range(5)
    ]
    rows += [{"file": "same.png", "kind": "a", "part": "test", "said": "a small cat"}]
    table = root / "table.jsonl"
    columns = ["--label", "kind", "--split", "part", "--caption", "said"]

    def check_table(*args: str, code: int) -> str:
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert main(["data", "check", str(table), *columns, *args]) == code
        return capsys.readouterr().out

    out = check_table(code=1)
    assert "6 images" in out
    assert "splits       train 5, test 1" in out
    assert "  a          4  ####" in out
    assert "captions     11, 7 of them different\n  words      2 to 3, median 3" in out
    assert "vocabulary 9 different words" in out
    assert "spare.png is in no row" in out
    assert "0.png = same.png: the same file, in two splits" in out
    rows[5] = {"file": "gone.png", "kind": 3.5, "part": "train", "said": " "}
    out = check_table("--root", str(root), code=1)
    for message in (
        "no image file 'gone.png' in",
        "'kind' must be text or a whole number, got 3.5",
        "'said' must be a text",
    ):
        assert f"{table} line 6: {message}" in out
    del rows[5]
    (root / "same.png").unlink()
    assert check_table(code=0).endswith("nothing is wrong\n")
    assert main(["data", "check", str(table), "--caption", "sad"]) == 2
    assert "no column 'sad'; did you mean 'said'?" in capsys.readouterr().err
    assert main(["data", "check", str(root), "--caption", "said"]) == 2
    assert "--caption is for tables" in capsys.readouterr().err
