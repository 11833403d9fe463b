"""What the README shows is true."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
import torch
from conftest import REPO
from packaging.specifiers import SpecifierSet
from PIL import Image

from condgen.data import Digits
from condgen.models import AdversarialModel

README = (REPO / "README.md").read_text()


def test_the_ten_lines_of_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code.replace("max_steps=3000", "max_steps=30"), "README.md", "exec"), names)
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
    assert isinstance(names["images"], torch.Tensor)
    with Image.open(tmp_path / "digits.png") as picture:
        assert picture.size == (10 * 50 + 2, 52)


def test_the_model_in_one_file_builds(digits: Digits) -> None:
    _, code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, type[AdversarialModel]] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["Mixed"](digits.image_shape, digits.cond_spec).sample({"label": torch.tensor([3])}).shape[0] == 1


def test_results_are_the_measured_ones() -> None:
    measured = (REPO / "experiments" / "quickstart" / "results.md").read_text()
    assert measured.strip() in README


def test_configs_and_folders_exist() -> None:
    for name in re.findall(r"-c ([a-z]+/\w+\.yaml)", README) + re.findall(
        r"`((?:model|condition|data|logger)/\w+\.yaml)`", README
    ):
        assert (REPO / "configs" / name).is_file(), name
    for link in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (REPO / link).exists(), link
    table = (REPO / "docs" / "how-to" / "train.md").read_text()
    shown = set(re.findall(r"`((?:model|condition|data|logger)/\w+\.yaml)`", table))
    shipped = {f"{p.parent.name}/{p.name}" for p in (REPO / "configs").glob("*/*.yaml")} - {"trainer/default.yaml"}
    assert shown == shipped


def test_commands_name_real_verbs_and_targets() -> None:
    from condgen.cli import VERBS

    makefile = (REPO / "Makefile").read_text()
    for block in re.findall(r"```\n(.*?)```", README, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("condgen "):
                assert line.split()[1] in VERBS, line
            if line.startswith("make "):
                assert f"\n{line.split()[1]}:" in makefile, line


def test_no_file_names_a_registry_or_this_machine() -> None:
    for path in (REPO / "constraints.txt", REPO / "pyproject.toml", REPO / "Makefile"):
        assert "://" not in path.read_text(), path
    lines = (REPO / "constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[\w.\-]+==[\w.+!\-]+", line) for line in lines)


def test_pins_are_for_the_oldest_python_that_is_promised() -> None:
    """Of any micro version; a machine's own Python is often an early one."""
    oldest = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    pins = [line.partition("==")[0] for line in (REPO / "constraints.txt").read_text().split()]
    asked = {name: needed for name in pins if (needed := requires_python(name))}
    assert len(asked) > 50
    assert not [name for name, needed in asked.items() if f"{oldest}.0" not in SpecifierSet(needed)]


def requires_python(name: str) -> str | None:
    """Return what an installed package wants; null for one that is not here."""
    try:
        return metadata(name)["Requires-Python"]
    except PackageNotFoundError:
        return None
