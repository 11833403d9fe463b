"""Two processes on two cores against one process on one core, by `condgen fit` on the CPU.

Weak scaling: each process has the batch of the one process. Strong: they share it. The three take turns, in processes
of one thread; images per second are those that `fit` logs, the first rows left out.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from statistics import median

from condgen.bench import digits
from experiments.bench.settings import Part, Rows, Setting
from experiments.results import ROOT, newest

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]
"""Those of this process before it is bound to one of them."""
BATCH, STEPS = 64, 30


def images_per_second(setting: Setting, config: str, batch: int, processes: int) -> float:
    """Train in some processes, on cores as many as they are; return the median of the logged rates."""
    steps = 20 if setting.smoke else STEPS
    args = [*setting.config(config), f"--data.batch_size={batch}", "--trust", "experiments.bench"]
    args += ["--trainer.accelerator=cpu", f"--trainer.devices={processes}", f"--trainer.max_steps={steps}"]
    args += ["--trainer.limit_val_batches=0", f"--trainer.log_every_n_steps={steps // 10}"]
    args += ["--collapse.every_n_steps=1000000", "--grid.every_n_images=1000000000"]
    args += [f"--runs={setting.folder}", f"--name={config}"]
    cores = ",".join(map(str, CORES[:processes]))
    command = ["taskset", "-c", cores, sys.executable, "-m", "condgen", "fit", *args]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}")
    with (newest(setting.folder, config) / "metrics.csv").open() as file:
        rates = [row["time/images_per_second"] for row in csv.DictReader(file)]
    return median(list(map(float, filter(None, rates)))[2:])


def scaled(config: str, setting: Setting) -> Rows:
    """Train in turns, and compare."""
    if len(CORES) < 2:
        raise RuntimeError("scaling needs two cores")
    runs = {"one": (BATCH, 1), "weak": (BATCH, 2), "strong": (BATCH // 2, 2)}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(setting.protocol.rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            rates[name].append(images_per_second(setting, config, *runs[name]))
    rows: Rows = []
    for name in ("weak", "strong"):
        ratios = [two / one for two, one in zip(rates[name], rates["one"], strict=True)]
        rows.append(
            {
                "work": f"{config}, 2 processes on 2 cores against 1 on 1",
                "comparison": f"{name} scaling, batch {runs[name][0]} a process",
                "ours": digits(median(rates[name])),
                "peer": digits(median(rates["one"])),
                "ratio": round(median(ratios), 3),
                "ratio_min_max": [round(min(ratios), 3), round(max(ratios), 3)],
                "rounds": len(ratios),
            }
        )
    return rows


PARTS: Mapping[str, Part] = {f"scaling/{config}": partial(scaled, config) for config in ("dcgan",)}
