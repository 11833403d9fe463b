"""Run `condgen quickstart` with several seeds and write what they reached.

python -m experiments.quickstart.run --seeds 3

Writes results.json, results.md and grid.png (the last grid of seed 0) beside this file, and the table into README.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from experiments.results import into_readme, machine, write_json

HERE = Path(__file__).parent


def run(seed: int, runs: Path) -> dict[str, Any]:
    start = time.perf_counter()
    command = [sys.executable, "-m", "condgen", "quickstart", "--seed_everything", str(seed), "--runs", str(runs)]
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    folder = max((runs / "quickstart").iterdir())
    if seed == 0:
        shutil.copy(max((folder / "samples").iterdir()), HERE / "grid.png")
    return {"seed": seed, "seconds": round(seconds, 1), **json.loads((folder / "metrics.json").read_text())}


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| score | mean | sd | training images | good is |", "| --- | ---: | ---: | ---: | --- |"]
    for name, first in rows[0]["scores"].items():
        values = [row["scores"][name]["value"] for row in rows]
        spread = f"{stdev(values):.4f}" if len(values) > 1 else ""
        floor = f"{first['floor']['mean']:.4f}" if "floor" in first else ""
        lines.append(f"| {name} | {mean(values):.4f} | {spread} | {floor} | {first['better']} |")
    seconds = [row["seconds"] for row in rows]
    lines.append(f"| seconds, everything included | {mean(seconds):.1f} | | | lower |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    args = parser.parse_args()
    rows = [run(seed, args.runs) for seed in range(args.seeds)]
    write_json(HERE / "results.json", {"machine": machine(), "rows": rows})
    (HERE / "results.md").write_text(table(rows))
    into_readme("quickstart", table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
