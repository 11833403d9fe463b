"""`condgen list` names all that ships, with a line about each, and imports nothing heavy."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib import import_module

import pytest
from conftest import REPO
from evaluate_inputs import Fails

from condgen.cli import main
from condgen.cli.catalogue import KINDS, entries

PAPER = re.compile(r"\b(1[89]|20)\d\d\b")
BASES = {"AdversarialModel", "SingleLossModel", "GenerativeModel", "Recogniser", "ImageDataModule", "ConditionEncoder"}


def names(kind: str) -> set[str]:
    return {entry.name for entry in entries(KINDS[kind])}


@pytest.mark.parametrize("kind", KINDS)
def test_each_has_one_line(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == kind
    assert len(lines) == len(names(kind))
    assert all(re.fullmatch(r"  \S+ {2,}\S.{7,}", line) for line in lines), lines


@pytest.mark.parametrize(("kind", "folder"), [("models", "model"), ("data", "data"), ("conditions", "condition")])
def test_every_config_is_listed(kind: str, folder: str) -> None:
    assert {f"{folder}/{path.name}" for path in (REPO / "configs" / folder).glob("*.yaml")} <= names(kind)


@pytest.mark.parametrize("kind", ["metrics", "samplers", "nets", "objectives"])
def test_classes_are_those_that_importing_finds(kind: str) -> None:
    package = import_module(f"condgen.{KINDS[kind].package}")
    found = set()
    for name in package.__all__:
        item = getattr(package, name)
        if not inspect.isclass(item) or inspect.isabstract(item) or issubclass(item, tuple):
            continue
        above = {base.__name__ for base in item.__mro__[1:]}
        if kind == "objectives" or above & set(KINDS[kind].bases):
            found.add(name)
    assert names(kind) == found


def test_data_that_no_config_names_is_listed_by_class() -> None:
    own = {"ImageFolder", "ImageArrays", "ImageTable", "PairedFolder", "TarShards", "UnpairedFolders"}
    assert own <= names("data")
    assert not {"Digits", "ImageDataModule", "MNIST"} & names("data")


def test_models_and_samplers_have_their_papers() -> None:
    for entry in [*entries(KINDS["models"]), *entries(KINDS["samplers"])]:
        assert PAPER.search(entry.about) or entry.name in BASES | {"model/classifier.yaml", "model/tagger.yaml"}, entry


def test_all_kinds_are_listed_without_a_word_and_without_torch() -> None:
    code = "import sys; from condgen.cli import main; main(['list']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line and line[0] != " "] == list(KINDS)


def test_an_unknown_kind_is_named(fails: Fails) -> None:
    assert "no kind 'model', did you mean 'models'?" in fails("list", "model")
