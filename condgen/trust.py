"""What configs and checkpoints may name: classes of a few packages, and what the user trusts besides.

A name is looked up only if it lies in one of those packages, and taken only if it is a class, or a function of those
packages that are made of functions, and is defined there: what a module imports from elsewhere is not its own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from inspect import isclass, ismodule, isroutine
from typing import Any, TypeGuard

CHECKPOINT_PACKAGES = (
    "condgen.conditions",
    "condgen.models",
    "condgen.nets",
    "condgen.objectives",
    "condgen.processes",
    "torch.nn",
    "torch.optim",
)
"""What a model is made of."""
CONFIG_PACKAGES = (
    *CHECKPOINT_PACKAGES,
    "condgen.callbacks",
    "condgen.data",
    "condgen.metrics",
    "torchvision.datasets",
    "torchvision.models",
    "torchvision.transforms",
    "torchmetrics",
    "lightning.fabric.accelerators",
    "lightning.fabric.plugins",
    "lightning.fabric.strategies",
    "lightning.pytorch.accelerators",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers.CSVLogger",
    "lightning.pytorch.loggers.TensorBoardLogger",
    "lightning.pytorch.loggers.csv_logs",
    "lightning.pytorch.loggers.tensorboard",
    "lightning.pytorch.plugins",
    "lightning.pytorch.profilers",
    "lightning.pytorch.strategies",
)
"""What a run is made of."""
EXCEPTIONS = (
    "condgen.models.plain",
    "lightning.fabric.strategies.launchers",
    "lightning.pytorch.strategies.launchers",
    "torchmetrics.image.fid",
    "torchvision.datasets.lsun",
)
"""Parts of those that import, start a process, or unpickle a file, as their arguments say."""
LOGGERS = "lightning.pytorch.loggers"
"""Of these the ones that write files may be named; the others send a key to a server, which their arguments choose."""
FUNCTIONS = ("torch.nn.functional", "torch.nn.init", "torchvision.models", "torchvision.transforms")
"""Packages whose functions may be named like classes."""
LONGEST = 300
"""Letters of a path."""


class UntrustedError(ValueError):
    """A name that a config or a checkpoint may not use; nothing was run.

    Args:
        reason: Why.
        package: What the user could trust; null where that would not do.
    """

    def __init__(self, reason: str, package: str | None = None) -> None:
        super().__init__(f"{reason}; add --trust {package}" if package else reason)
        self.package = package


def find_named(path: object, packages: Sequence[str], trusted: Sequence[str]) -> Any:
    """Import what a path names, if it may be named.

    Args:
        path: Dotted path, such as `condgen.nets.UNet`.
        packages: Packages whose classes, and the functions of `FUNCTIONS`, may be named.
        trusted: Packages of which anything may be named that is defined in them.

    Raises:
        UntrustedError: If it lies elsewhere, before anything is imported, or is defined elsewhere, or is no class.
        ValueError: If there is no such class.
    """
    check_path(path, packages, trusted)
    module, _, name = str(path).rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no class {path}") from error
    check_named(found, packages, trusted)
    return found


def import_class(path: object, packages: Sequence[str], trusted: Sequence[str] = ()) -> type:
    """Import a class by its path; what it may be is said at `find_named`."""
    found = find_named(path, packages, trusted)
    if not isclass(found):
        raise ValueError(f"{path} is no class")
    return found


def check_path(path: object, packages: Sequence[str], trusted: Sequence[str]) -> None:
    """Refuse a path outside the packages, private ones inside them, and `EXCEPTIONS`."""
    if is_dotted(path):
        if lies_in(path, trusted):
            return
        private = any(part.startswith("_") for part in path.split("."))
        if lies_in(path, packages) and not lies_in(path, EXCEPTIONS) and not private:
            return
    raise refusal(path, packages)


def check_named(found: object, packages: Sequence[str], trusted: Sequence[str]) -> None:
    """Refuse an object that is no class or function, or is not defined in the packages."""
    if ismodule(found):
        raise UntrustedError(f"{found.__name__} is a module, and configs and checkpoints name classes")
    kind = found if isclass(found) or isroutine(found) else type(found)
    name = kind.__qualname__
    path = f"{kind.__module__}.{name}"
    if kind.__module__ is not None and lies_in(path, trusted):
        return
    if isroutine(kind) and ("." in name or not lies_in(path, FUNCTIONS)):
        raise UntrustedError(f"{name} is a function, and configs and checkpoints name classes")
    if not lies_in(path, packages) or lies_in(path, EXCEPTIONS):
        raise refusal(path, packages)


def is_dotted(path: object) -> TypeGuard[str]:
    """Tell whether something reads as the path of a class: names with dots between, of a length that can be told."""
    return isinstance(path, str) and len(path) <= LONGEST and all(part.isidentifier() for part in path.split("."))


def lies_in(path: str, packages: Sequence[str]) -> bool:
    """Tell whether a path is one of the packages, or inside one."""
    return any(path == package or path.startswith(f"{package}.") for package in packages)


def refusal(path: object, packages: Sequence[str] = CONFIG_PACKAGES) -> UntrustedError:
    """Return the error that says why a path is refused, and what the user can do."""
    if not is_dotted(path):
        return UntrustedError(f"{str(path)[:80]!r} is not the path of a class")
    top = path.partition(".")[0]
    if top in sys.stdlib_module_names:
        return UntrustedError(f"{path} is Python's own, which no config or checkpoint may name")
    if lies_in(path, (LOGGERS,)):
        reason = "for a config can choose the server that it sends keys to"
        return UntrustedError(f"{path} is not trusted, {reason}", LOGGERS)
    known = [package for package in packages if package.partition(".")[0] == top]
    if known:
        return UntrustedError(f"{path} may not be named; of {top} may be named the classes of {', '.join(known)}")
    return UntrustedError(f"{path} is not trusted", top)
