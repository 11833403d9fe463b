"""Conditions on the command line: read, spread over rows, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from condgen.cli.asked import Asked, add_conditions, asked_for
from condgen.cli.errors import UserError
from condgen.cli.info import describe
from condgen.cli.parser import OneLineParser
from condgen.data import Shapes

SPEC = Shapes(n_train=8, image_size=16, conditions=("attributes", "text", "mask", "source", "low_res")).cond_spec | {
    "label": {"names": ["cat", "dog", "7"]},
    "style": {"channels": 3},
    "known": {},
}


def ask(keys: tuple[str, ...], *args: str) -> Asked:
    parser = OneLineParser(allow_abbrev=False)
    add_conditions(parser)
    model: Any = SimpleNamespace(condition_keys=keys, cond_spec=SPEC, image_shape=(3, 16, 16))
    return asked_for(parser.parse_args(args), model)


def refused(keys: tuple[str, ...], *args: str) -> str:
    with pytest.raises(UserError) as caught:
        ask(keys, *args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def picture(path: Path, level: int, size: int = 16, mode: str = "RGB") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size), level, np.uint8)).convert(mode).save(path)
    return str(path)


def test_labels_are_all_classes_unless_named() -> None:
    assert ask(("label",)).cond["label"].tolist() == [0, 1, 2]
    assert ask(("label",), "--label", "dog,7,0").cond["label"].tolist() == [1, 2, 0]
    assert ask(("label",), "--label", "0-1").names == ["label=cat", "label=dog"]
    assert ask(()).cond == {}
    assert ask(()).names == [""]


def test_captions_are_bytes_and_cut_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    length = SPEC["text"]["max_length"]
    asked = ask(("text",), "--text", "a red dot", "--text", "\u00e9" * length)
    assert asked.cond["text"].shape == (2, length)
    assert bytes(asked.cond["text"][0].tolist()).rstrip(b"\0") == b"a red dot"
    assert bytes(asked.cond["text"][1].tolist()).rstrip(b"\0").decode() == "\u00e9" * (length // 2)
    assert f"warning: caption cut to the {length} bytes" in capsys.readouterr().out
    assert asked.names[0] == "a_red_dot"
    assert refused(("text",), "--text", " ") == "--text must not be empty"


def test_attributes_are_said_by_name_or_group(capsys: pytest.CaptureFixture[str]) -> None:
    names = SPEC["attributes"]["names"]
    row = ask(("attributes",), "--attributes", "colour=red,shape=cross,size=0.2").cond["attributes"][0]
    said = dict(zip(names, row.tolist(), strict=True))
    assert {name for name, value in said.items() if value == 1.0} == {"red", "cross"}
    assert said["size"] == pytest.approx(0.2)
    assert said["x"] == pytest.approx(0.5)
    assert sum(said[name] for name in names[:10]) == 2.0
    assert "warning" not in capsys.readouterr().out
    ask(("attributes",), "--attributes", "red=1,cross=true,size=0.9")
    assert "warning: size=0.9 is outside the range 0.15 to 0.3" in capsys.readouterr().out
    assert "no colour 'rad', did you mean 'red'" in refused(("attributes",), "--attributes", "colour=rad,shape=cross")
    assert "must say shape: one of circle" in refused(("attributes",), "--attributes", "colour=red")
    assert "takes name=value, got 'sise=1', did you mean 'size'" in refused(("attributes",), "--attributes", "sise=1")
    assert "size must be a number, got 'big'" in refused(("attributes",), "--attributes", "shape=cross,size=big")


def test_pictures_come_from_files_or_folders_at_the_size_that_is_due(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    picture(folder / "b.png", 255, size=40)
    picture(folder / "a.png", 0)
    asked = ask(("source",), "--source", str(folder))
    assert asked.names == ["a", "b"]
    assert asked.cond["source"].shape == (2, SPEC["source"]["channels"], 16, 16)
    assert asked.cond["source"].flatten(1).unique(dim=1).flatten().tolist() == [-1.0, 1.0]
    assert ask(("low_res",), "--low-res", str(folder)).cond["low_res"].shape == (2, 3, 4, 4)
    mask = ask(("mask",), "--mask", picture(tmp_path / "mask.png", 3, mode="L")).cond["mask"]
    assert (mask.shape, mask.dtype, int(mask.max())) == ((1, 16, 16), torch.int64, 3)
    known = ask(("known", "style"), "--known", str(folder), "--style", str(folder / "a.png")).cond
    assert known["known"].shape == (2, 1, 16, 16)
    assert known["known"].flatten(1).mean(dim=1).tolist() == [0.0, 1.0]
    assert known["style"].shape == (2, 3, 16, 16)
    assert "class 9, where there are 5" in refused(("mask",), "--mask", picture(tmp_path / "m.png", 9, mode="L"))
    assert "--source: " in refused(("source",), "--source", str(tmp_path / "nowhere.png"))
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refused(("source",), "--source", str(tmp_path / "empty"))


def test_one_row_goes_with_many_and_other_numbers_are_refused() -> None:
    asked = ask(("label", "text"), "--label", "cat,dog", "--text", "hello")
    assert asked.cond["text"].shape[0] == 2
    assert asked.names == ["label=cat-hello", "label=dog-hello"]
    three = ["--label", "0-2", "--text", "a", "--text", "b"]
    assert refused(("label", "text"), *three) == "--text gives 2 rows and --label 3; give one, or as many"
    assert len(set(ask(("text",), "--text", "a", "--text", "a").names)) == 2


def test_what_a_model_does_not_take_or_lacks_is_said() -> None:
    assert refused(("label",), "--text", "a") == "this model takes no text; leave --text out; it takes label"
    assert refused(("text", "label"), "--text", "a") == "this model needs label; give --label; it takes text, label"
    assert refused((), "--label", "0") == "this model takes no label; leave --label out; it takes nothing"
    assert "names the same one twice" in refused(("label",), "--label", "cat,0")


def test_every_condition_is_described() -> None:
    model: Any = SimpleNamespace(image_shape=(3, 16, 16))
    lines = {key: describe(key, SPEC[key], model) for key in SPEC}
    assert lines["label"] == "3 classes: cat, dog, 7"
    assert lines["attributes"].startswith("shape (circle or square or triangle or cross), colour (red or")
    assert "size 0.15 to 0.3" in lines["attributes"]
    assert lines["text"].startswith(f"up to {SPEC['text']['max_length']} bytes")
    assert lines["low_res"] == "4x4, colour"
    assert lines["mask"].startswith("16x16, 5 classes: background, circle")
