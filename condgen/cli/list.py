"""`condgen list`: what ships with condgen, one line each, with the papers."""

from __future__ import annotations

from collections.abc import Sequence

from condgen.cli.catalogue import KINDS, entries
from condgen.cli.errors import UserError, nearest
from condgen.cli.parser import OneLineParser


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Print the parts of some kinds, or of all."""
    parser = OneLineParser(
        prog="condgen list",
        description="List what ships with condgen: configs by the names that -c takes, and classes that have none.",
        epilog="Any class of your own works beside them: its import path is its name.",
        allow_abbrev=False,
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; default all")
    chosen = parser.parse_args(args).kinds or list(KINDS)
    for kind in chosen:
        if kind not in KINDS:
            raise UserError(f"list: no kind {kind!r}{nearest(kind, KINDS)}; the kinds are {', '.join(KINDS)}")
    for i, kind in enumerate(chosen):
        if i:
            print()
        print(kind)
        shown = list(entries(KINDS[kind]))
        width = max(len(entry.name) for entry in shown)
        for entry in shown:
            print(f"  {entry.name:<{width}}  {entry.about}")
    return 0
