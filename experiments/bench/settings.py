"""What all parts of the bench share: where the data lie, how works are timed, and runs without an end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condgen.bench import Group, Protocol, measure
from condgen.cli.bench_works import steady
from condgen.cli.lightning import CLI

HERE = Path(__file__).parent
FULL, HALF = "32-true", "bf16-mixed"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Setting:
    """How a part is measured.

    Args:
        root: Holds MNIST/raw.
        folder: May be written to; empty when the part begins.
        protocol: How works are timed.
        smoke: Whether sizes are tiny: that shows that a part works, and measures nothing.
    """

    root: str
    folder: Path
    protocol: Protocol
    smoke: bool = False

    def built(self, *args: str) -> CLI:
        """Build a run on the CPU that has no end."""
        return steady([*args, "--trainer.accelerator=cpu"], self.folder / "runs", ["experiments.bench"])

    def where(self) -> list[str]:
        """Return the options that lead to MNIST."""
        return [f"--data.root={self.root}", "--data.download=false"]

    def config(self, name: str) -> list[str]:
        """Return the options of one of the configs in this folder."""
        return ["-c", str(HERE / f"{name}.yaml"), *self.where()]


Part = Callable[[Setting], Rows]
"""Measures, and returns rows of plain values."""


def compared(make: Callable[[Setting], Group]) -> Part:
    """Return the part that times a group."""
    return lambda setting: measure(make(setting), setting.protocol)
