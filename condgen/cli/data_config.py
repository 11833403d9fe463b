"""The data module of a config, without a model or a trainer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

import condgen.data  # noqa: F401 - so that classes can be named without their module
from condgen.cli.errors import UserError
from condgen.cli.explain import explain
from condgen.cli.files import find_config
from condgen.cli.includes import with_includes
from condgen.cli.restricted import check_config, restricted
from condgen.cli.secrets import refuse_secrets
from condgen.data import ImageDataModule
from condgen.yaml_file import read_yaml


def data_module(name: str, overrides: list[str], trusted: Sequence[str] = ()) -> ImageDataModule:
    """Build what stands under `data` in a config and all that it includes.

    Args:
        name: The config's path, or its name among the shipped ones.
        overrides: Options such as `--data.root` and their values.
        trusted: Packages that the config may name, beside `condgen.trust.CONFIG_PACKAGES`.

    Raises:
        UserError: If there is no data, or it is wrong.
    """
    parts = parts_of([name], "data")
    if not parts:
        raise UserError(f"config {name} has no data; give one such as data/mnist.yaml")
    module: ImageDataModule = built(ImageDataModule, "data", parts, overrides, trusted)
    return module


def parts_of(names: Sequence[str], key: str) -> list[Any]:
    """Return what configs, and all that they include, have under a key, in their order."""
    contents = [read_yaml(path) for name in names for path in with_includes(find_config(name))]
    return [content[key] for content in contents if content.get(key) is not None]


def built(kind: type, key: str, parts: Sequence[Any], overrides: Sequence[str], trusted: Sequence[str]) -> Any:
    """Build a module from class paths and arguments, of which later ones win.

    Args:
        kind: Class of which it is one.
        key: Where it stands in configs.
        parts: What they have there.
        overrides: Options such as `--data.root` and their values.
        trusted: Packages that they may name, beside `condgen.trust.CONFIG_PACKAGES`.

    Raises:
        UserError: If something is wrong with them.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(kind, key, required=True)
    module = instantiated(parser, key, parts, overrides, trusted)
    assert isinstance(module, kind)
    return module


def instantiated(
    parser: ArgumentParser, key: str, parts: Sequence[Any], overrides: Sequence[str], trusted: Sequence[str]
) -> Any:
    """Build what a parser takes under a key; all else is as in `built`."""
    try:
        args = [f"--{key}={json.dumps(part, default=str)}" for part in parts]
        with restricted(trusted):
            config = parser.parse_args([*args, *overrides])
            check_config(config, trusted)
            refuse_secrets(config)
            return parser.instantiate(config)[key]
    except (ArgumentError, ValueError, TypeError, OSError) as error:
        raise UserError(explain(error, (flag.removeprefix("--") for flag in parser._option_string_actions))) from error
