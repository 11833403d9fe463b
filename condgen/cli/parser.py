"""A parser whose errors are one line."""

from __future__ import annotations

import argparse
from typing import NoReturn

from condgen.cli.errors import UserError, nearest


class OneLineParser(argparse.ArgumentParser):
    """Raises an error in place of printing the usage text."""

    def error(self, message: str) -> NoReturn:
        """Raise it."""
        if message.startswith("unrecognized arguments: "):
            given = message.removeprefix("unrecognized arguments: ").split()[0]
            message = f"no option {given}{nearest(given.split('=')[0], self._option_string_actions)}"
        raise UserError(f"{self.prog.removeprefix('condgen ')}: {message}")
