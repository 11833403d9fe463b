"""Memory of a training step of a U-Net, by batch, accumulation and activation checkpointing.

Each size in a process of its own, since what a process held once counts for it. Images are noise. What is told is the
most that the process held over three steps less what it held before the first.

python -m experiments.bench.memory OPTIONS_OF_FIT      # one size, as JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from condgen.bench import digits, peak_memory, pin
from condgen.cli.bench_works import steady, training
from experiments.bench.growth import images
from experiments.bench.settings import FULL, Part, Rows, Setting

STEPS = 3
SIZES = {
    "batch 8": (8, 1, False),
    "batch 32": (32, 1, False),
    "batch 32, checkpointed": (32, 1, True),
    "batch 32 as 4 of 8, accumulated": (8, 4, False),
}
"""Batch, batches that are accumulated, and whether activations are computed twice."""


def one(flags: list[str]) -> dict[str, Any]:
    """Measure in this process."""
    pin(1)
    with TemporaryDirectory() as runs:
        cli = steady(flags, Path(runs))
        work, before = training(cli), peak_memory()
        count = cli.trainer.accumulate_grad_batches
        blocks = [work.block(0.0) for _ in range(STEPS * count)][-count:]
        work.close()
        wall = sum(block.wall for block in blocks)
        return {"mib": (peak_memory() - before) >> 20, "seconds": wall, "images": sum(b.images for b in blocks)}


def measured(setting: Setting) -> Rows:
    """Measure all sizes, each beside the batch of 32."""
    side, width = (16, 16) if setting.smoke else (64, 64)
    config = ["-c", "trainer/default.yaml", "-c", "model/ddpm.yaml", "--trainer.accelerator=cpu"]
    config += ["--data=ImageArrays", f"--data.path={images(setting.folder, 500, side)}"]
    config += [f"--model.net.width={width}", "--model.net.multipliers=[1,2,2]", f"--trainer.precision={FULL}"]
    found = {}
    for name, (batch, count, checkpoint) in SIZES.items():
        flags = [f"--data.batch_size={batch}", f"--trainer.accumulate_grad_batches={count}"]
        flags.append(f"--model.net.checkpoint={str(checkpoint).lower()}")
        command = [sys.executable, "-m", "experiments.bench.memory", *config, *flags]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
    whole = found["batch 32"]
    return [
        {
            "work": f"memory of a step of a U-Net of width {width}, {side} px",
            "comparison": name,
            "mib": row["mib"],
            "memory_ratio": round(row["mib"] / max(1, whole["mib"]), 3),
            "ours": digits(row["images"] / row["seconds"]),
            "peer": digits(whole["images"] / whole["seconds"]),
            "ratio": round(row["images"] / row["seconds"] * whole["seconds"] / whole["images"], 3),
        }
        for name, row in found.items()
    ]


PARTS: Mapping[str, Part] = {"memory/unet": measured}

if __name__ == "__main__":
    print(json.dumps(one(sys.argv[1:])))
