"""Keys and passwords, which have no place in a config: each run keeps its own, and command lines are seen by others."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace

from condgen.cli.errors import UserError

WORD_END = re.compile(r"(?<=[a-z])(?=[A-Z])|-")
NAME = re.compile(
    r"(^|_)(api_?key|(access|private|secret)_key|(api|access|auth|bearer|hf|hub|refresh|session)_token|passw(or)?d"
    r"|passphrase|pwd|secret|credentials|authorization)$|^token$"
)
"""Options that hold a secret, in small letters with `_` between words; `pad_token` is a model's."""
IN_ADDRESS = re.compile(r"://[^/\s:@]*:[^/\s@]+@|https?://[^/\s@]+@")
IN_QUERY = re.compile(r"[?&]([\w.-]+)=[^&\s]")
VARIABLE = re.compile(r"((^|_)(api)?key|(^|_)token|(^|_)secret|passw(or)?d|passphrase|_pwd)(_?\d+)?$", re.I)
"""Variables of the environment that hold one; the working folder's, PWD, does not."""
SHORTEST = 8
"""Characters of a variable's value that is looked for in other words."""


def refuse_secrets(value: Any, name: str = "") -> None:
    """Refuse a config that holds a secret, or what a variable of the environment holds as one.

    Raises:
        UserError: Naming its place, and not its value.
    """
    if isinstance(value, Namespace | Mapping):
        for key, item in (vars(value) if isinstance(value, Namespace) else value).items():
            refuse_secrets(item, f"{name}.{key}".strip("."))
    elif isinstance(value, list | tuple):
        for item in value:
            refuse_secrets(item, name)
    elif isinstance(value, str) and (what := secret_in(value, name.rpartition(".")[2])):
        raise UserError(
            f"{name} holds {what}, and a run keeps its config: leave it out, and set it in the environment, "
            "as WANDB_API_KEY"
        )


def secret_in(text: str, name: str) -> str:
    """Say what secret the value of an option holds; nothing if it holds none."""
    names = [name, *IN_QUERY.findall(text)] if text else []
    if any(is_secret(item) for item in names) or IN_ADDRESS.search(text):
        return "a secret"
    values = {variable: value for variable, value in os.environ.items() if VARIABLE.search(variable)}
    found = (variable for variable, value in values.items() if len(value) >= SHORTEST and value in text)
    return next((f"the value of {variable}" for variable in found), "")


def is_secret(name: str) -> bool:
    """Tell whether an option of a name holds a secret."""
    return NAME.search(WORD_END.sub("_", name).lower()) is not None
