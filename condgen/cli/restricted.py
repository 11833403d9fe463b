"""The parser's settings while a config is read and what it names is built: what may be imported, and what not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from inspect import Parameter, isclass, isroutine, signature
from typing import Any

from jsonargparse import Namespace, get_loader, set_loader, set_parsing_settings
from jsonargparse._common import parsing_settings
from yaml import YAMLError as ParserError

from condgen.trust import CONFIG_PACKAGES, EXCEPTIONS, check_named, check_path
from condgen.yaml_file import YAMLError, check_size


@contextmanager
def restricted(trusted: Sequence[str]) -> Iterator[None]:
    """Let the parser import from `CONFIG_PACKAGES` and trusted ones alone, and build nothing where any value may stand.

    The settings are those of the process; they are put back.
    """
    before, load = dict(parsing_settings), get_loader("yaml")

    def checked_load(text: str) -> Any:
        check_size(text)
        return load(text)

    try:
        set_parsing_settings(
            import_path_denylist=["*", *EXCEPTIONS],
            import_path_allowlist=[*CONFIG_PACKAGES, *trusted],
            instantiate_subclass_spec_in_any=False,
        )
        set_loader("yaml", checked_load, (ParserError, YAMLError, ValueError, OverflowError))
        yield
    finally:
        parsing_settings.update(before)
        set_loader("yaml", load, (ParserError,))


def check_config(value: Any, trusted: Sequence[str]) -> None:
    """Look through a parsed config for whatever it names, before any of it is built.

    The parser has imported from the packages that it may, and has compared types; but it takes methods too, and
    functions with arguments.

    Raises:
        UntrustedError: If a class or a function may not be named.
    """
    if isinstance(value, Namespace | Mapping):
        parts = dict(vars(value) if isinstance(value, Namespace) else value)
        if isinstance(parts.get("class_path"), str):
            check_path(parts["class_path"], CONFIG_PACKAGES, trusted)
            found = named(parts["class_path"])
            check_named(found, CONFIG_PACKAGES, trusted)
            parts["init_args"] = given(found, parts.get("init_args"))
        value = list(parts.values())
    if isinstance(value, list | tuple | set):
        for item in value:
            check_config(item, trusted)
    elif isclass(value) or isroutine(value):
        check_named(value, CONFIG_PACKAGES, trusted)


def given(found: Any, init_args: Any) -> dict[str, Any]:
    """Leave out of a class's arguments those that are its own defaults, which no config has named."""
    named_arguments = dict(vars(init_args) if isinstance(init_args, Namespace) else init_args or {})
    kinds = found.__mro__ if isclass(found) else ()
    makers = [vars(kind)["__init__"] for kind in kinds if "__init__" in vars(kind)] or [found]
    defaults: list[tuple[str, Any]] = []
    for make in makers:
        try:
            defaults += [(key, part.default) for key, part in signature(make).parameters.items()]
        except (TypeError, ValueError):  # built in
            continue
    kept = [(key, default) for key, default in defaults if default is not Parameter.empty]
    return {
        key: value
        for key, value in named_arguments.items()
        if not any(key == name and value is default for name, default in kept)
    }


def named(path: str) -> Any:
    """Return what a path names; a class's own attributes are found too."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError:
        return getattr(named(module), name)
