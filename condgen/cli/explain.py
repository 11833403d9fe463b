"""One line out of the parser's many."""

from __future__ import annotations


def explain(error: BaseException, verb: str, args: list[str]) -> str:
    return str(error)
