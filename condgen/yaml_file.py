"""YAML as plain data, of a size that can be worked with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

MOST_NODES = 200_000
DEEPEST = 50


class YAMLError(ValueError):
    """Text that is no YAML, or none that a config can be."""


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        YAMLError: If it cannot be read, or is none; in one line, with the path.
    """
    try:
        return load_yaml(path.read_text())
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise YAMLError(f"{path} is not YAML: {error}") from error


def load_yaml(text: str) -> Any:
    """Read YAML; tags of Python are refused.

    Raises:
        YAMLError: If it is none, or is too large or too deep once its aliases are written out.
    """
    check_size(text)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # a date such as 2026-99-99 is a ValueError
        raise YAMLError(" ".join(str(error).split())) from error


def check_size(text: str) -> None:
    """Count the nodes of YAML as they will be, each alias as large as what it stands for."""
    sizes: list[int] = [0]
    anchors: list[str | None] = []
    known: dict[str | None, int] = {}
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, CollectionStartEvent):
                sizes.append(1)
                anchors.append(event.anchor)
            elif isinstance(event, CollectionEndEvent):
                known[anchors.pop()] = size = sizes.pop()
                sizes[-1] += size
            elif isinstance(event, ScalarEvent):
                known[event.anchor] = 1
                sizes[-1] += 1
            elif isinstance(event, AliasEvent):
                if event.anchor not in known:
                    raise YAMLError(f"the alias *{event.anchor} stands for nothing, or for what it is in")
                sizes[-1] += known[event.anchor]
            if sizes[-1] > MOST_NODES or len(sizes) > DEEPEST:
                raise YAMLError(f"it has more than {MOST_NODES:,} values, or is nested deeper than {DEEPEST}")
    except yaml.YAMLError as error:
        raise YAMLError(" ".join(str(error).split())) from error
