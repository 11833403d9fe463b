"""Metrics of obedience as the command line names them."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentError, ArgumentParser

from condgen.cli.errors import UserError
from condgen.cli.explain import explain
from condgen.cli.restricted import check_config, restricted
from condgen.metrics import Obedience


def find_obedience(text: str, trusted: Sequence[str] = ()) -> Sequence[Obedience]:
    """Make the metrics of a list in YAML or JSON, as `condgen test` takes it for `--evaluation.obedience`.

    Args:
        text: The list.
        trusted: Packages that it may name, beside `condgen.trust.CONFIG_PACKAGES`.

    Raises:
        UserError: If it is no such list, or empty.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--obedience", type=Sequence[Obedience])
    try:
        with restricted(trusted):
            config = parser.parse_args([f"--obedience={text}"])
            check_config(config, trusted)
            made: Sequence[Obedience] = parser.instantiate(config).obedience
    except (ArgumentError, ImportError, ValueError, TypeError, AttributeError) as error:
        raise UserError(" ".join(explain(error, ()).split())) from error
    if not made:
        raise UserError("--obedience names no metric")
    return made
