"""What ships with condgen, read from its configs and sources; nothing is imported, so it takes no time."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from condgen.cli.files import PACKAGE, shipped


class Kind(NamedTuple):
    """A kind of part: the folder of its configs, if it has any; its package; the classes that all of it extends."""

    configs: str | None
    package: str
    bases: tuple[str, ...]


class Entry(NamedTuple):
    """A config, or a class that has none, with a line about it."""

    name: str
    about: str


class Source(NamedTuple):
    """A class as its file has it."""

    bases: tuple[str, ...]
    about: str


KINDS = {
    "models": Kind("model", "models", ("GenerativeModel", "Recogniser")),
    "data": Kind("data", "data", ("ImageDataModule",)),
    "conditions": Kind("condition", "conditions", ("ConditionEncoder",)),
    "metrics": Kind(None, "metrics", ("DistributionMetric", "Obedience", "Extractor")),
    "samplers": Kind(None, "processes", ("DiffusionSampler",)),
    "nets": Kind(None, "nets", ("Module",)),
    "objectives": Kind(None, "objectives", ("ABC", "object")),
}


ANY_FILES = ("ImageTable", "PairedFolder", "TarShards", "UnpairedFolders")
"""Data of anyone's files, though configs name them for some that are known."""


def entries(kind: Kind) -> Iterator[Entry]:
    """Yield the kind's configs, then its public classes, without abstract ones and those that configs stand for."""
    named = ""
    if kind.configs is not None:
        for path in sorted((shipped("configs") / kind.configs).glob("*.yaml")):
            text = path.read_text()
            named += text
            yield Entry(f"{kind.configs}/{path.name}", first_sentence(text))
    sources = read_sources(PACKAGE / kind.package)
    for name in public_names(PACKAGE / kind.package / "__init__.py"):
        is_of_kind = ancestors(name, sources) & set(kind.bases) and name not in kind.bases
        is_shown = name in ANY_FILES or f"condgen.{kind.package}.{name}\n" not in named
        if is_of_kind and "ABC" not in sources[name].bases and is_shown:
            yield Entry(name, sources[name].about)


def ancestors(name: str, sources: dict[str, Source]) -> set[str]:
    """Return the names of all classes that a class extends."""
    bases = sources[name].bases if name in sources else ()
    return set(bases).union(*(ancestors(base, sources) for base in bases))


def read_sources(folder: Path) -> dict[str, Source]:
    """Read the classes of a package by name."""
    files = (ast.parse(path.read_text()) for path in sorted(folder.rglob("*.py")))
    classes = [node for file in files for node in file.body if isinstance(node, ast.ClassDef)]
    return {node.name: Source(base_names(node), summary(node)) for node in classes}


def summary(node: ast.ClassDef) -> str:
    """Return the first line of a class's docstring, without its full stop."""
    return (ast.get_docstring(node) or "").partition("\n")[0].removesuffix(".")


def base_names(node: ast.ClassDef) -> tuple[str, ...]:
    """Return the bases of a class, without their modules and parameters."""
    return tuple(ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases) or ("object",)


def public_names(init: Path) -> list[str]:
    """Return what a package exports, sorted without regard to case."""
    nodes = [node for node in ast.parse(init.read_text()).body if isinstance(node, ast.ImportFrom)]
    return sorted((alias.name for node in nodes for alias in node.names), key=str.lower)


def first_sentence(text: str) -> str:
    """Return the first sentence of the comment at the top of a config."""
    comment = " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), text.splitlines()))
    return re.split(r"(?<!\.\.)\.(?: (?=[^a-z0-9])|$)", comment, maxsplit=1)[0]
