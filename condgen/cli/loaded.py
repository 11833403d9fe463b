"""The model that a verb samples from, as its options say."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from condgen.cli.errors import RUN_OR_FILE, UserError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from torch import nn

    from condgen.models import GenerativeModel

Module = TypeVar("Module", bound="nn.Module")


def add_model(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--ckpt", required=True, metavar="RUN_OR_FILE", help=RUN_OR_FILE)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or mps; images differ by rounding")
    parser.add_argument("--raw", action="store_true", help="use the raw weights, not the averaged ones")
    parser.add_argument("--sampler", metavar="CLASS", help="sampler in place of the checkpoint's, such as DPMSolver")


def loaded(options: Namespace, rest: list[str], parser: ArgumentParser, trusted: Sequence[str]) -> GenerativeModel:
    """Load the model on the CPU; what is left of the command line are its sampler's settings.

    Raises:
        UserError: If there is none, or it has no such sampler.
    """
    from condgen.checkpoints import load_model
    from condgen.cli.samplers import choose_sampler

    settings = parse_settings(rest)
    try:
        model = load_model(options.ckpt, trusted=trusted)
        model.raw = options.raw
    except ValueError as error:
        raise UserError(str(error)) from error
    choose_sampler(model, options.sampler, settings, parser._option_string_actions)
    return model


def parse_settings(rest: list[str]) -> dict[str, str]:
    """Read the options that the verb itself does not know: `--steps 20`, `--steps=20`, or `--sde` for true."""
    settings: dict[str, str] = {}
    words = list(reversed(rest))
    while words:
        word = words.pop()
        if not word.startswith("--"):
            raise UserError(f"no argument {word!r}; options begin with --")
        name, equals, value = word[2:].partition("=")
        has_value = not equals and words and not words[-1].startswith("--")
        settings[name] = words.pop() if has_value else value
    return settings


def moved(module: Module, device: str) -> Module:
    """Move a model or a net to a device that is there."""
    try:
        return module.to(device)
    except (RuntimeError, AssertionError) as error:  # torch raises either, by the reason
        raise UserError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from error
