"""`condgen fit --rollback N`: a run that diverges goes back to its last checkpoint, and learns more slowly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from condgen.cli.errors import RunError

if TYPE_CHECKING:
    from condgen.cli.lightning import CLI

FACTOR = 0.5
"""What the learning rates are multiplied with at each time."""


def options_of_retreat(cli: CLI, error: RunError) -> list[str]:
    """Return the options by which a run goes on from its last checkpoint with lower learning rates, and say so.

    Raises:
        RunError: The same, if it is not about a value that is not finite, or there is no way back.
    """
    if not isinstance(error.__cause__, FloatingPointError) or cli.trainer.world_size > 1:
        raise error
    rates = dict(learning_rates(cli.config.fit.model.get("init_args") or Namespace()))
    if not rates or not any(cli.run_folder.glob("checkpoints/*.ckpt")):
        raise error
    lowered = {name: FACTOR * rate for name, rate in rates.items()}
    told = ", ".join(f"{name} {rate:g}" for name, rate in lowered.items())
    print(f"rollback: {error.__cause__.args[0].partition(';')[0]}; goes back to the last checkpoint, with {told}")
    rollback = f"--rollback={cli.config.fit.rollback - 1}"
    flags = [f"--{name}={rate!r}" for name, rate in lowered.items()]
    return ["--resume", str(cli.run_folder), "--allow_changes", rollback, *flags]


def learning_rates(init_args: Namespace) -> Iterator[tuple[str, float]]:
    """Yield the learning rates of a model's optimizers by their options."""
    for name, value in init_args.as_dict().items():
        given = value.get("init_args") if isinstance(value, dict) else None
        rate = given.get("lr") if isinstance(given, dict) else None
        if isinstance(rate, int | float):
            yield f"model.{name}.lr", float(rate)
