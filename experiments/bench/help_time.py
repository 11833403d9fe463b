"""Time `condgen --help` against `python -c pass`, in alternation; prints the medians and their ratio.

python experiments/bench/help_time.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROUNDS = 21
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "condgen --help": [str(Path(sys.executable).with_name("condgen")), "--help"],
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    for name, values in times.items():
        print(f"{name}: {1e3 * median(values):.1f} ms (median of {ROUNDS})")
    bare, helped = times.values()
    print(f"ratio: {median(b / a for a, b in zip(bare, helped, strict=True)):.2f}")


if __name__ == "__main__":
    main()
