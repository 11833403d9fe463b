"""Memory of a training step of a U-Net, by batch, precision and activation checkpointing; each in a process of its own.

python -m experiments.bench.memory [--width 64] [--side 64] [--json FILE]

Images are noise. What is told is the most that the process held over three steps less what it held before the first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from condgen.bench import machine, markdown, peak_memory, pin, write_json
from condgen.cli.bench_works import steady, training
from experiments.bench.compare import RESULTS
from experiments.bench.growth import images

COLUMNS = {
    "batch": "batch",
    "precision": "precision",
    "checkpoint": "checkpointed",
    "mib": "MiB",
    "seconds": "s/step",
}


def one(flags: list[str]) -> dict[str, Any]:
    """Measure in this process."""
    pin(1)
    with TemporaryDirectory() as runs:
        cli = steady(flags, Path(runs))
        work, before = training(cli), peak_memory()
        block = [work.block(0.0) for _ in range(3)][-1]
        work.close()
        return {"mib": (peak_memory() - before) >> 20, "seconds": round(block.wall, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batches", default="8,16,32")
    parser.add_argument("--json", type=Path, default=RESULTS / "memory.json")
    parser.add_argument("--one", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one)))
        return
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        config = ["-c", "trainer/default.yaml", "-c", "model/ddpm.yaml", "--trainer.accelerator=cpu"]
        config += ["--data=ImageArrays", f"--data.path={images(Path(folder), 500, args.side)}"]
        config += [f"--model.net.width={args.width}", "--model.net.multipliers=[1,2,2]"]
        for batch in map(int, args.batches.split(",")):
            for precision in ("32-true", "bf16-mixed"):
                for checkpoint in (False, True):
                    flags = [f"--data.batch_size={batch}", f"--trainer.precision={precision}"]
                    flags.append(f"--model.net.checkpoint={str(checkpoint).lower()}")
                    command = [sys.executable, "-m", "experiments.bench.memory", "--one", *config, *flags]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    found = json.loads(done.stdout.splitlines()[-1])
                    rows.append({"batch": batch, "precision": precision, "checkpoint": checkpoint, **found})
    sizes = {"width": args.width, "side": args.side}
    write_json(args.json, {"machine": machine(), **sizes, "rows": rows})
    print(markdown(rows, COLUMNS))


if __name__ == "__main__":
    main()
