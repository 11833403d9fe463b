"""Two processes on two cores against one process on one core, by `condgen fit` on the CPU.

python -m experiments.bench.scaling --root DATA [--config experiments/bench/dcgan.yaml] [--json FILE]

DATA holds MNIST/raw. Weak scaling: each process has the batch of the one process. Strong: they share it. The three
take turns, in processes of one thread; images per second are those that `fit` logs, the first rows left out.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from condgen.bench import machine, markdown, write_json
from condgen.bench.figures import digits
from experiments.bench.compare import RESULTS
from experiments.results import ROOT, newest

HERE = Path(__file__).parent
COLUMNS = {
    "work": "work",
    "ours": "2 processes, images/s",
    "peer": "1 process, images/s",
    "ratio": "ratio",
    "ratio_min_max": "least to most",
}


def images_per_second(config: str, root: str, batch: int, processes: int, steps: int, folder: Path) -> float:
    """Train in some processes, each pinned to cores as many as they are; return the median of the logged rates."""
    log = max(1, steps // 10)
    args = ["-c", config, f"--data.root={root}", "--data.download=false", f"--data.batch_size={batch}"]
    args += ["--trainer.accelerator=cpu", f"--trainer.devices={processes}", f"--trainer.max_steps={steps}"]
    args += ["--trainer.limit_val_batches=0", f"--trainer.log_every_n_steps={log}", "--collapse.every_n_steps=1000000"]
    args += [f"--runs={folder}", "--name=scaling", "--grid.every_n_images=1000000000"]
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:processes]))
    command = ["taskset", "-c", cores, sys.executable, "-m", "condgen", "fit", *args]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}")
    rows = csv.DictReader((newest(folder, "scaling") / "metrics.csv").open())
    rates = [float(row["time/images_per_second"]) for row in rows if row["time/images_per_second"]]
    return median(rates[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--config", default=str(HERE / "dcgan.yaml"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=RESULTS / "scaling.json")
    args = parser.parse_args()
    runs = {"one": (args.batch, 1), "weak": (args.batch, 2), "strong": (args.batch // 2, 2)}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    with TemporaryDirectory() as folder:
        for number in range(args.rounds):
            for name in list(runs)[:: -1 if number % 2 else 1]:
                batch, processes = runs[name]
                rate = images_per_second(args.config, args.root, batch, processes, args.steps, Path(folder))
                rates[name].append(rate)
    rows: list[dict[str, Any]] = []
    for name in ("weak", "strong"):
        ratios = [two / one for two, one in zip(rates[name], rates["one"], strict=True)]
        rows.append(
            {
                "work": f"{Path(args.config).stem}, batch {runs[name][0]} a process: {name} scaling",
                "ours": digits(median(rates[name])),
                "peer": digits(median(rates["one"])),
                "ratio": round(median(ratios), 3),
                "ratio_min_max": [round(min(ratios), 3), round(max(ratios), 3)],
            }
        )
    write_json(args.json, {"machine": machine(), "rounds": args.rounds, "steps": args.steps, "rows": rows})
    print(markdown(rows, COLUMNS))


if __name__ == "__main__":
    main()
