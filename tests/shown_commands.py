"""Commands that documents show, parsed as the command line parses them, and not run."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from condgen import processes
from condgen.cli import main
from condgen.cli.errors import UserError
from condgen.cli.loaded import parse_settings
from condgen.cli.parser import OneLineParser
from condgen.models import DecoderSampler

BLOCK = re.compile(r"^( *)```(?:\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
STAMPED = re.compile(r"runs/[\w<>-]+(/<stamp>(-test)?)?(?=/|$)")
SAMPLERS = (processes.Ancestral, processes.DDIM, processes.DPMSolver, DecoderSampler)


class ParsedError(BaseException):
    """A command was understood; nothing is done with it."""


def commands(text: str) -> list[str]:
    """List the `condgen` commands in the code blocks of a Markdown text, without the comments behind them."""
    blocks = [found[2].replace("\\\n", " ") for found in BLOCK.finditer(text)]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [re.sub(r" +#.*", "", line) for line in lines if line.startswith("condgen ")]


def understood(command: str, runs: Sequence[Path]) -> None:
    """Parse a command; one of the runs must do where it names a run.

    Raises:
        AssertionError: If it is not understood.
    """
    reasons = []
    for run in runs:
        try:
            return parse(command, run)
        except UserError as error:
            reasons.append(f"{command}: {error}")
    raise AssertionError("\n".join(reasons))


def parse(command: str, run: Path) -> None:
    """Parse a command; a run's folder stands where it names one."""
    words = [re.sub(r"\bRUN\b", str(run), STAMPED.sub("RUN", word)) for word in shlex.split(command)[1:]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONDGEN_TRACEBACK", "1")
        patch.setattr(OneLineParser, "parse_args", parse_args)
        patch.setattr(OneLineParser, "parse_known_args", parse_known_args)
        patch.setattr("condgen.cli.lightning.CLI.before_instantiate_classes", parsed)
        try:
            main(words)
        except ParsedError:
            return
    raise AssertionError(f"{command} was run, or printed its usage")


def parsed(*args: object) -> None:
    """Stop."""
    raise ParsedError


def parse_args(parser: OneLineParser, args: Any = None, namespace: Any = None) -> None:
    """Parse, and stop."""
    _, rest = argparse.ArgumentParser.parse_known_args(parser, args, namespace)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    raise ParsedError


def parse_known_args(parser: OneLineParser, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
    """Parse, check that what is left are settings of samplers, and stop; `bench` leaves it to the parser of `fit`."""
    found, rest = argparse.ArgumentParser.parse_known_args(parser, args, namespace)
    if parser.prog.startswith("condgen bench "):
        return found, rest
    known = {field.name for sampler in SAMPLERS for field in fields(sampler)}
    unknown = set(parse_settings(rest)) - known
    if unknown:
        parser.error(f"unrecognized arguments: --{unknown.pop()}")
    raise ParsedError
