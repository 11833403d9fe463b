"""Configs on the command line: found by name, and preceded by what they include."""

from __future__ import annotations

from pathlib import Path

from condgen.cli.errors import UserError
from condgen.cli.files import find_config
from condgen.yaml_file import YAMLError, read_yaml


def expand_includes(args: list[str]) -> list[str]:
    """Put the files that a config includes before it; find configs by their shipped names too."""
    out: list[str] = []
    rest = iter(args)
    for arg in rest:
        flag, equals, value = arg.partition("=")
        if flag in ("--include", "--include+"):
            raise UserError("include is for configs; on the command line give -c FILE, once for each")
        if flag not in ("-c", "--config"):
            out.append(arg)
            continue
        name = value if equals else next(rest, None)
        if name is None:
            raise UserError(f"{flag} needs a file")
        for path in with_includes(find_config(name)):
            out += ["--config", str(path)]
    return out


def with_includes(path: Path, inside: tuple[Path, ...] = ()) -> list[Path]:
    """List a config after all that it includes."""
    if path in inside:
        raise UserError(f"config {path} includes itself")
    try:
        content = read_yaml(path)
    except YAMLError as error:
        raise UserError(f"config {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"config {path} must be a mapping with keys such as model, data and trainer")
    names = content.get("include") or []
    if not isinstance(names, list):
        raise UserError(f"config {path}: include must be a list of files, got {names!r}")
    included = [find_config(str(name), beside=path.parent) for name in names]
    return [file for item in included for file in with_includes(item, (*inside, path))] + [path]
