"""`--trust PACKAGE`: the user's own modules, which configs and checkpoints may then name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from traceback import extract_tb

from condgen.cli.errors import UserError, nearest

FLAG = "--trust"
HELP = "module or package that configs and checkpoints may name, such as my_model for my_model.py; may be given again"
WEIGHTS_ONLY = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "0"}
"""What torch reads at each load, whatever the caller says."""


def split_trusted(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part `--trust A,B` from the other words of a command line.

    Returns:
        The packages, and the other words.

    Raises:
        UserError: If a package cannot be one.
    """
    packages: list[str] = []
    rest: list[str] = []
    words = iter(args)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != FLAG:
            rest.append(word)
            continue
        names = value if equals else next(words, "")
        packages += [name.strip() for name in names.split(",")]
    for package in packages:
        check_package(package)
    return packages, rest


def check_package(name: str) -> None:
    """Refuse what is no name of a package, and Python's own."""
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"{FLAG} takes the name of a module, such as my_model for my_model.py, got {name!r}")
    if name.partition(".")[0] in {*sys.stdlib_module_names, "jsonargparse"}:
        raise UserError(f"{FLAG} {name}: that would let a config run anything; trust a module of your own")


@contextmanager
def trusting(packages: Sequence[str]) -> Iterator[None]:
    """Import packages, also from the working folder; where there are none, let torch unpickle nothing meanwhile.

    Raises:
        UserError: If one cannot be imported.
    """
    if packages:
        with working_folder():
            for package in packages:
                import_trusted(package)
            yield
        return
    before = {name: os.environ.get(name) for name in WEIGHTS_ONLY}
    os.environ |= WEIGHTS_ONLY
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextmanager
def working_folder() -> Iterator[None]:
    """Let modules be found in the working folder too, last of all."""
    here = os.getcwd()
    known = here in sys.path
    if not known:
        sys.path.append(here)
    try:
        yield
    finally:
        if not known:
            sys.path.remove(here)


def import_trusted(package: str) -> None:
    """Import a package, so that its classes can be named without it."""
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{package}.".startswith(f"{error.name}."):
            raise UserError(f"{FLAG} {package}: {error}") from error
        here = [path.stem for path in Path().glob("*.py")] + [path.parent.name for path in Path().glob("*/__init__.py")]
        raise UserError(
            f"{FLAG} {package}: no module {error.name!r} here or installed{nearest(package, here)}"
        ) from error
    except Exception as error:  # a user's module may fail in any way
        raise UserError(f"{FLAG} {package}: {place(error)}{type(error).__name__}: {error}") from error


def place(error: Exception) -> str:
    """Say at which line of which file a module fails."""
    if isinstance(error, SyntaxError):
        return ""
    last = extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}: "
