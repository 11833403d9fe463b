"""An extractor of `condgen evaluate`: by its name, by the file of its weights, or by a config."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from condgen.cli.errors import UserError, nearest
from condgen.cli.explain import explain
from condgen.cli.restricted import check_config, restricted
from condgen.metrics import ClassifierExtractor, DigitsExtractor, Extractor, InceptionExtractor, MNISTExtractor
from condgen.yaml_file import YAMLError, read_yaml

NAMED: dict[str, Callable[[], Extractor]] = {
    "digits": DigitsExtractor,
    "mnist": MNISTExtractor,
    "inception": InceptionExtractor,
}
KEYS = {"class_path", "init_args"}


def find_extractor(name: str, trusted: Sequence[str]) -> Extractor:
    """Make an extractor.

    Args:
        name: One of `NAMED`, a classifier's `.safetensors`, Inception's `.pth`, or a YAML file with `class_path` and
            `init_args` of any extractor.
        trusted: Packages that a YAML file may name, beside `condgen.trust.CONFIG_PACKAGES`.

    Raises:
        UserError: If there is no such extractor, or its config is wrong.
        ValueError: If its weights are.
    """
    suffix = Path(name).suffix
    if suffix in (".yaml", ".yml"):
        return built(read(Path(name)), name, trusted)
    if suffix == ".safetensors":
        return ClassifierExtractor(name)
    if suffix in (".pth", ".pt"):
        return InceptionExtractor(name)
    if name not in NAMED:
        raise UserError(
            f"no extractor {name!r}{nearest(name, NAMED)}; give {', '.join(NAMED)}, a file of weights or a .yaml"
        )
    return NAMED[name]()


def built(card: dict[str, Any], origin: object, trusted: Sequence[str]) -> Extractor:
    """Build an extractor.

    Args:
        card: Its `class_path` and `init_args`.
        origin: The file that it is from, as errors name it.
        trusted: Packages that it may name, beside `condgen.trust.CONFIG_PACKAGES`.

    Raises:
        UserError: If it cannot be built.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Extractor, "extractor", required=True)
    try:
        with restricted(trusted):
            config = parser.parse_args([f"--extractor={json.dumps(card, default=str)}"])
            check_config(config, trusted)
            made = parser.instantiate(config).extractor
    except (ArgumentError, ImportError, ValueError, TypeError, AttributeError, OSError) as error:
        reason = re.sub(r": give --\S+ VALUE$", " among its init_args", explain(error, ()))
        raise UserError(f"{origin}: {reason}") from error
    assert isinstance(made, Extractor)
    return made


def read(path: Path) -> dict[str, Any]:
    """Read a config's `class_path` and `init_args`."""
    if not path.is_file():
        raise UserError(f"no extractor config {path}")
    try:
        content = read_yaml(path)
    except YAMLError as error:
        raise UserError(f"extractor config {error}") from error
    if not isinstance(content, dict) or "class_path" not in content:
        raise UserError(f"extractor config {path} must have the keys class_path and init_args")
    unknown = next((str(key) for key in content if key not in KEYS), None)
    if unknown is not None:
        raise UserError(f"extractor config {path} takes no {unknown!r}{nearest(unknown, KEYS)}")
    return content
