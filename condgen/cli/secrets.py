"""Keys and passwords, which have no place in a config: each run keeps its own, and command lines are seen by others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace

from condgen.cli.errors import UserError

NAME = re.compile(r"(^|_)(api_?key|api_token|access_token|auth_token|passw(or)?d|secret|secret_key|credentials)$", re.I)
IN_ADDRESS = re.compile(r"://[^/\s:@]+:[^/\s@]+@")


def refuse_secrets(value: Any, name: str = "") -> None:
    """Refuse a config that holds a secret.

    Raises:
        UserError: Naming its place, and not its value.
    """
    if isinstance(value, Namespace | Mapping):
        for key, item in (vars(value) if isinstance(value, Namespace) else value).items():
            refuse_secrets(item, f"{name}.{key}".strip("."))
    elif isinstance(value, list | tuple):
        for item in value:
            refuse_secrets(item, name)
    elif isinstance(value, str) and value and (NAME.search(name.rpartition(".")[2]) or IN_ADDRESS.search(value)):
        raise UserError(
            f"{name} holds a secret, and a run keeps its config: leave it out, and set it in the environment, "
            "as WANDB_API_KEY"
        )
