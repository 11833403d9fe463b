"""One way to run a soak from the command line, and one file that its counts go to."""

from __future__ import annotations

import json
import platform
import resource
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from condgen import __version__

RESULTS = Path(__file__).parent / "results.jsonl"
ADDRESS_SPACE = 48 << 30
"""Bytes that a soak may map, so that a value that asks for a terabyte fails at once."""


def record(name: str, run: Callable[[int, int], dict[str, Any]], count: int) -> None:
    """Run a soak as `--count` and `--seed` say, and append what it found.

    Args:
        name: Of the soak, such as `mutated_configs`.
        run: Takes a count and a seed, and returns counts; `problems` lists what must not happen.
        count: Default of `--count`.

    Raises:
        SystemExit: If there were problems.
    """
    parser = ArgumentParser(prog=f"python -m experiments.soak.{name}")
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, resource.RLIM_INFINITY))
    start = time.perf_counter()
    found = run(options.count, options.seed)
    line = {
        "soak": name,
        "count": options.count,
        "seed": options.seed,
        "seconds": round(time.perf_counter() - start, 1),
        **found,
        "versions": {"condgen": __version__, "python": platform.python_version(), "torch": torch.__version__},
    }
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line, indent=2))
    if found["problems"]:
        raise SystemExit(f"{len(found['problems'])} problems")
