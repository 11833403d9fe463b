"""Constructor arguments as plain values, so that a checkpoint can say what it holds without pickling code."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from inspect import Parameter, signature
from typing import Any

from condgen.trust import CHECKPOINT_PACKAGES, import_class

PLAIN = (str, int, float, bool, type(None))


def to_plain(value: Any, name: str = "argument") -> Any:
    """Turn a constructor argument into strings, numbers, lists and dicts.

    A dataclass becomes `{"class_path": ..., "init_args": {...}}`; a class, or a `functools.partial` of one, which is a
    factory, becomes `{"factory": ..., "init_args": {...}}`.

    Raises:
        TypeError: If it cannot be written that way; `name` is in the message.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(key): to_plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item, name) for item in value]
    if isinstance(value, type):
        return {"factory": class_path(value), "init_args": {}}
    if isinstance(value, partial):
        classes = [item for item in (value.func, *value.args) if isinstance(item, type)]  # jsonargparse adds a wrapper
        if len(classes) == 1:
            return {"factory": class_path(classes[0]), "init_args": to_plain(value.keywords, name)}
    if is_dataclass(value):
        init_args = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"class_path": class_path(type(value)), "init_args": to_plain(init_args, name)}
    raise TypeError(
        f"{name}={value!r} cannot be written to a checkpoint; pass a class, functools.partial(Class, key=value), a "
        "dataclass or plain values"
    )


def from_plain(value: Any, trusted: Sequence[str]) -> Any:
    """Undo `to_plain`.

    Raises:
        UntrustedError: If a class is neither of `CHECKPOINT_PACKAGES` nor of what is trusted; it is not imported.
        ValueError: If what should be a dataclass is none, or a class does not take its arguments.
    """
    if isinstance(value, list):
        return [from_plain(item, trusted) for item in value]
    if not isinstance(value, dict):
        return value
    for key in ("class_path", "factory"):
        if value.keys() == {key, "init_args"}:
            cls, init_args = import_class(value[key], CHECKPOINT_PACKAGES, trusted), value["init_args"]
            if not isinstance(init_args, dict):
                raise ValueError(f"the arguments of {value[key]} are no mapping")
            init_args = {name: from_plain(item, trusted) for name, item in init_args.items()}
            if key == "factory":
                return partial(cls, **init_args)
            if not is_dataclass(cls):
                raise ValueError(f"{value[key]} is no dataclass, and only such are kept with their values")
            return cls(**init_args)
    return {key: from_plain(item, trusted) for key, item in value.items()}


def constructor_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments of a constructor call, defaults included, in plain values."""
    call = signature(cls).bind(*args, **kwargs)
    call.apply_defaults()
    kinds = {name: parameter.kind for name, parameter in call.signature.parameters.items()}
    given = {name: value for name, value in call.arguments.items() if kinds[name] is not Parameter.VAR_KEYWORD}
    for name in call.arguments.keys() - given.keys():
        given |= call.arguments[name]
    return {name: to_plain(value, name) for name, value in given.items()}


def class_path(cls: type) -> str:
    """Return the shortest import path of a class, as `torch.optim.Adam` for `torch.optim.adam.Adam`."""
    parts = cls.__module__.split(".")
    for length in range(1, len(parts)):
        package = ".".join(parts[:length])
        if getattr(sys.modules.get(package), cls.__qualname__, None) is cls:
            return f"{package}.{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"
