"""A parser whose errors are one line."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from condgen.cli.errors import UserError, nearest
from condgen.cli.trust import FLAG, HELP


class Once(argparse._StoreAction):
    """Keeps a value, and refuses a second one, of which one would be lost."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Keep it."""
        if option is not None and isinstance(parser, OneLineParser):
            if self.dest in parser.given:
                parser.error(f"{option} was given twice, as {getattr(namespace, self.dest)!r} and {values!r}")
            parser.given.add(self.dest)
        super().__call__(parser, namespace, values, option)


class OneLineParser(argparse.ArgumentParser):
    """Raises an error in place of printing the usage text; its help says what every verb takes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.given: set[str] = set()
        for name in (None, "store"):
            self.register("action", name, Once)
        self.add_argument_group("trust").add_argument(FLAG, default=(), metavar="PACKAGE", help=HELP)

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Parse from the beginning."""
        self.given.clear()
        return super().parse_known_args(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise it."""
        if message.startswith("unrecognized arguments: "):
            given = message.removeprefix("unrecognized arguments: ").partition(" ")[0]
            message = f"no option {given or repr(given)}{nearest(given.split('=')[0], self._option_string_actions)}"
        raise UserError(f"{self.prog.removeprefix('condgen ')}: {message}")
