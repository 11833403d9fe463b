"""Samples by the ten thousand, written as they come: images per second, and the memory that it takes.

Each in a process of its own, by `condgen sample` from a generator that was not trained.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping

from condgen.bench import peak_memory, pin
from condgen.cli import main as condgen
from experiments.bench.settings import Part, Rows, Setting

OUT = {"npz": ("made.npz", (1000, 50_000)), "tar": ("made.tar", (10_000,)), "png": ("made", (10_000,))}
"""File or folder of each kind, and how many images go there."""


def one(run: str, out: str, count: int) -> dict[str, object]:
    """Sample in this process, after a first chunk that is not counted."""
    pin(1)
    condgen(["sample", "--ckpt", run, "--n", "7", "--out", f"{out}.first.npz"])
    before = peak_memory()
    condgen(["sample", "--ckpt", run, "--n", str(count // 10), "--out", out])
    return {"mib": (peak_memory() - before) / 2**20}


def streamed(setting: Setting) -> Rows:
    """Sample few images and many; what that takes more of memory does not grow with them."""
    args = ["-c", "trainer/default.yaml", "-c", "data/mnist.yaml", "-c", "model/dcgan.yaml", *setting.where()]
    short = ["--trainer.accelerator=cpu", "--trainer.max_steps=1", "--trainer.limit_val_batches=0"]
    assert condgen(["fit", *args, *short, f"--runs={setting.folder}", "--name=streamed"]) == 0
    (run,) = setting.folder.glob("streamed/*")
    rows: Rows = []
    for kind, (name, counts) in OUT.items():
        for count in (100, 500) if setting.smoke else counts:
            folder = setting.folder / f"{kind}{count}"
            command = [sys.executable, "-m", "experiments.bench.streaming", str(run), str(folder / name), str(count)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            *_, said, found = done.stdout.splitlines()
            rate = re.search(r"([\d.,e+]+) images/s", said)
            assert rate is not None, said
            rows.append(
                {
                    "work": "DCGAN samples of 32x32, written to disk",
                    "comparison": f"{count:,} images, {kind}",
                    "ours": float(rate[1].replace(",", "")),
                    "peer": None,
                    "ratio": None,
                    "mib": round(json.loads(found)["mib"], 1),
                }
            )
    return rows


PARTS: Mapping[str, Part] = {"sampling/streamed": streamed}

if __name__ == "__main__":
    print(json.dumps(one(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
