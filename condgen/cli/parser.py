"""A parser whose errors are one line."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from condgen.cli.errors import UserError, nearest
from condgen.cli.trust import FLAG, HELP


class OneLineParser(argparse.ArgumentParser):
    """Raises an error in place of printing the usage text; its help says what every verb takes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_argument_group("trust").add_argument(FLAG, default=(), metavar="PACKAGE", help=HELP)

    def error(self, message: str) -> NoReturn:
        """Raise it."""
        if message.startswith("unrecognized arguments: "):
            given = message.removeprefix("unrecognized arguments: ").split()[0]
            message = f"no option {given}{nearest(given.split('=')[0], self._option_string_actions)}"
        raise UserError(f"{self.prog.removeprefix('condgen ')}: {message}")
