"""One line with the nearest valid name, out of the parser's many lines."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec

from condgen.cli.errors import nearest
from condgen.trust import refusal

PUBLIC = ("conditions", "data", "metrics", "models", "nets", "objectives", "processes")

CLASS_PATH = r"\bclass_path(?:'?: |=)(\[.*?\]|\{.*?\}|[^\s'\",})]+)"
"""One that is no text."""


def explain(error: BaseException, options: Iterable[str]) -> str:
    """Say what is wrong with a command line or config.

    Args:
        error: What jsonargparse, or a constructor that it called, raised.
        options: The verb's own options, such as `trainer.max_steps`.
    """
    text = str(error)
    key = ".".join(re.findall(r'Parser key "([^"]+)"', text))
    for pattern, describe in (
        (r"Importing '([^']+)' is not allowed", refused),
        (r"given class_path '[^']+':\s+unrecognized arguments: --([^\s=.]+)", lambda n: unknown_argument(n, text, key)),
        (r"unrecognized arguments: --([^\s=]+)", lambda name: unknown_option(name, options)),
        (r"does not accept option '([^']+)'", lambda name: unknown_option(name, options)),
        (r"arguments? (?:are )?required: (.+)", lambda names: missing_option(names, key)),
        (r"Option '([^']+)' is not accepted", lambda name: unknown_argument(name, text, key)),
        (r"module '([^']+' has no attribute '[^']+)'", unknown_attribute),
        (r"No module named '([^']+)'", unknown_module),
        (
            r"Expected an instantiatable class, but (?:.|\n)*Given value: (?:Namespace\(class_path=')?([\w.]+)",
            unfinished,
        ),
        (CLASS_PATH, lambda value: f"{key}: class_path must be the path of a class, got {value}"),
        (r"Unable to load config ['\"]([^'\"]*)", lambda value: no_options(value, text)),
        (r"Expected a dot import path string: (\S+)", lambda name: wrong_number(text, key) or unknown_class(name, key)),
    ):
        found = re.search(pattern, text)
        if found:
            return describe(found[1])
    return wrong_value(text, key) or first_reason(text)


def unknown_option(name: str, options: Iterable[str]) -> str:
    """Explain a key that no part of the verb has."""
    known = list(options)
    if name == "trust":
        return "trust is not for configs to give: say --trust PACKAGE on the command line"
    group = name.partition(".")[0]
    if group not in {option.partition(".")[0] for option in known}:
        name, known = group, [option for option in known if "." not in option]
    return f"no option {name!r}{nearest(name, known)}"


def no_options(value: str, text: str) -> str:
    """Explain a single value where options belong."""
    keys = re.findall(r'Parser key "([^"]+)"', text)
    return f"{keys[-1] if keys else 'config'} must hold options by their names, or be a file that does, got {value!r}"


def wrong_number(text: str, key: str) -> str:
    """Explain a value where a number belongs, though a class would have done as well."""
    return wrong_value(text, key) if re.search(r"Expected an? <class '(int|float)'>", text) else ""


def missing_option(names: str, key: str) -> str:
    """Explain a missing model or data, or an argument that a class needs."""
    name = names.split(",", maxsplit=1)[0].strip().split(".")[-1]
    if key:
        return f"{key} needs {name}: give --{key}.{name} VALUE"
    return f"{name} is missing: give --{name} CLASS, or a config that sets it"


def unknown_argument(name: str, text: str, key: str) -> str:
    """Explain an argument that a class does not take."""
    classes = re.findall(r"(?:given class_path |class_path=)'([^']+)'", text)
    path = classes[-1] if classes else ""
    if path and name in parameters(path):
        return f"{key} cannot be {path}: its {name!r} is one of the arguments that are passed to it there, in order"
    return f"{path or key} takes no {name!r}{nearest(name, parameters(path))}"


def parameters(path: str) -> list[str]:
    """List the arguments of a class; none if it cannot be found."""
    module, _, name = path.rpartition(".")
    try:
        return list(inspect.signature(getattr(import_module(module), name)).parameters)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []


def unknown_attribute(found: str) -> str:
    """Explain a class path whose module has no such class."""
    module, name = found.split("' has no attribute '")
    if module == "condgen":
        return unknown_module(f"condgen.{name}")
    return f"no class {module}.{name}{nearest(name, public_names(module))}"


def unknown_module(name: str) -> str:
    """Explain a module that cannot be imported."""
    return f"no module {name!r}{nearest(name, [f'condgen.{part}' for part in PUBLIC])}"


def refused(path: str) -> str:
    """Explain a name that a config may not use; it may be mistyped."""
    module = ".".join(path.split(".")[:2])
    if path == "lightning.LightningModule":  # the base, which stands for a class that nobody named
        return "a config is about a model before any is named: give it after the model's, such as model/dcgan.yaml"
    if path.startswith("condgen.") and find_spec(module) is None:
        return unknown_module(module)
    return str(refusal(path))


def unknown_class(name: str, key: str) -> str:
    """Explain a class name without a module that matches no class."""
    names = [item for part in PUBLIC for item in public_names(f"condgen.{part}")]
    return f"{key}: no class {name!r}{nearest(name, names)}"


def unfinished(path: str) -> str:
    """Explain a class of which no object can be made, for it leaves methods to its subclasses."""
    module, _, name = path.rpartition(".")
    try:
        missing = sorted(getattr(import_module(module), name).__abstractmethods__)
    except (ImportError, AttributeError, ValueError):
        return f"{path} is abstract: give a class that extends it"
    return f"{path} is abstract: a class that extends it must define {', '.join(missing)}"


def public_names(module: str) -> list[str]:
    """List what a module exports."""
    try:
        return [name for name in dir(import_module(module)) if name[0].isupper()]
    except ImportError:
        return []


def wrong_value(text: str, key: str) -> str:
    """Explain a value of the wrong type."""
    choices = re.findall(r"Expected a typing\.Literal\[([^\]]+)\]", text)
    expected = [kind for kind in re.findall(r"Expected an? <class '([^']+)'>", text) if kind != "NoneType"]
    given = re.findall(r"Got value: ([^\n.]+)|Given value: (\S[^\n]*?)(?:\. Got value|\n|$)", text)
    if not (expected or choices) or not key or not given:
        return ""
    value = shortened(next(part for part in given[0] if part))
    if value.startswith(("Namespace", "NestedArg", "{")):
        return ""
    if choices:
        valid = [item.strip(" '") for group in choices for item in group.split(",")]
        return f"{key} must be one of {', '.join(dict.fromkeys(valid))}, got {value!r}{nearest(value, valid)}"
    kinds = " or ".join(dict.fromkeys(kind.rpartition(".")[2] for kind in expected)).replace("Sequence", "a list")
    return f"{key} must be {kinds}, got {value!r}"


def shortened(text: str, most: int = 120) -> str:
    """Cut a text that no one would read to its end."""
    return text if len(text) <= most else f"{text[:most]}..."


def first_reason(text: str) -> str:
    """Return a constructor's own message, without the parser's frame around it."""
    reason = text
    while found := re.search(r"Errors:\s+- (.*?)(?:\n\s+- Expected a <class 'NoneType'>|\Z)", reason, re.DOTALL):
        reason = found[1]
    reason = re.sub(r"^Type .*? expects a function or a callable class: ", "", reason, flags=re.DOTALL)
    return shortened(re.sub(r"\. Got value: Namespace.*", "", reason, flags=re.DOTALL), 600)
