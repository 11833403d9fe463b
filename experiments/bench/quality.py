"""What speed does to quality: bfloat16 against float32, few steps against many, condgen's U-Net against diffusers'.

Each run trains and is scored by `condgen` in processes of one thread, two at a time on two cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean, stdev

from experiments.bench.scaling import CORES
from experiments.bench.settings import FULL, HALF, HERE, Part, Rows, Setting
from experiments.results import ROOT, newest

SEEDS = (0, 1, 2)
BATCHES = {"cgan": 1500, "dcgan": 600}
"""Training of each family: about a minute on a core."""
SOLVER_BATCHES, UNET_BATCHES = 2000, 600
NEAR = 0.1
"""How near a distance by few steps must come to that of many."""


def condgen(setting: Setting, core: int, verb: str, name: str, *args: str) -> Path:
    """Run a verb on one core; return the folder that it wrote."""
    where = ["--trainer.accelerator=cpu", "--runs", str(setting.folder), "--name", name, "--trust", "experiments.bench"]
    command = ["taskset", "-c", str(core), sys.executable, "-m", "condgen", verb, *args, *where]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}")
    return newest(setting.folder, name, "" if verb == "fit" else f"-{verb}")


def trained(setting: Setting, core: int, name: str, batches: int, *args: str) -> Path:
    """Train on MNIST; return the run."""
    steps = 4 if setting.smoke else batches
    small = [f"--trainer.max_steps={steps}", "--trainer.limit_val_batches=0", "--grid.every_n_images=1000000000"]
    return condgen(setting, core, "fit", name, *args, *setting.where(), *small)


def scores(setting: Setting, core: int, run: Path, name: str, n: int, *args: str) -> dict[str, float]:
    """Score a run on the test split by n samples."""
    count = 40 if setting.smoke else n
    size = [f"--evaluation.n_samples={count}", f"--evaluation.subset_size={count}", "--evaluation.floor=false"]
    folder = condgen(setting, core, "test", name, "-c", str(run), "--ckpt_path", str(run), *size, *args)
    found = json.loads((folder / "metrics.json").read_text())["scores"]
    return {key: row["value"] for key, row in found.items()}


def in_pairs(jobs: Sequence[partial[dict[str, float]]]) -> list[dict[str, float]]:
    """Do jobs, one on each core at a time; each is given its core."""
    free = CORES[:2]

    def done(job: partial[dict[str, float]]) -> dict[str, float]:
        core = free.pop()
        try:
            return job(core)
        finally:
            free.append(core)

    with ThreadPoolExecutor(len(free)) as pool:
        return list(pool.map(done, jobs))


# ---------------------------------------------------------------------- bfloat16 against float32


def precisions(model: str, setting: Setting) -> Rows:
    """Train one family in both precisions, by three seeds."""
    config = ["-c", "trainer/default.yaml", "-c", "data/mnist.yaml", "-c", f"model/{model}.yaml"]
    seeds = SEEDS[:2] if setting.smoke else SEEDS

    def one(precision: str, seed: int, core: int) -> dict[str, float]:
        name = f"{model}-{precision}-{seed}"
        options = [*config, f"--trainer.precision={precision}", "--seed_everything", str(seed)]
        return scores(setting, core, trained(setting, core, name, BATCHES[model], *options), name, 5000)

    asked = [(precision, seed) for precision in (HALF, FULL) for seed in seeds]
    found = in_pairs([partial(one, *key) for key in asked])
    rows: Rows = []
    for score in ("label_accuracy", "fd_mnist"):
        half, full = (
            [row[score] for row, (kind, _) in zip(found, asked, strict=True) if kind == precision]
            for precision in (HALF, FULL)
        )
        rows.append(
            {
                "work": f"{model} on MNIST, {BATCHES[model]} batches, {len(seeds)} seeds",
                "comparison": f"{score}, bf16 against fp32",
                "ours": round(mean(half), 4),
                "peer": round(mean(full), 4),
                "ratio": round(mean(half) / mean(full), 3),
                "ours_values": half,
                "peer_values": full,
                "spread": round(max(stdev(half), stdev(full)), 4),
                "difference": round(mean(half) - mean(full), 4),
            }
        )
    return rows


# ---------------------------------------------------------------------- few steps against many


def solver(setting: Setting) -> Rows:
    """Sample one diffusion model by 250 steps of DDIM, and by few of DPM-Solver++, without guidance."""
    config = ["-c", "trainer/default.yaml", "-c", "data/mnist.yaml", "-c", "model/ddpm.yaml"]
    config += ["--model.net.width=16", "--model.net.multipliers=[1,2,4]", "--model.net.attention=[4]"]
    config += ["--model.net.patch=2", "--data.batch_size=32"]
    run = trained(setting, CORES[0], "solver", SOLVER_BATCHES, *config)
    ways = {"DDIM, 250 steps": ("DDIM", 250), **{f"DPM-Solver++, {n} steps": ("DPMSolver", n) for n in (10, 15, 20)}}

    def one(kind: str, steps: int, core: int) -> dict[str, float]:
        steps = min(steps, 4) if setting.smoke else steps
        card = {"class_path": f"condgen.processes.{kind}", "init_args": {"steps": steps}}
        return scores(setting, core, run, f"solver-{kind}-{steps}", 1000, f"--model.sampler={json.dumps(card)}")

    found = dict(zip(ways, in_pairs([partial(one, *way) for way in ways.values()]), strict=True))
    many = found["DDIM, 250 steps"]["fd_mnist"]
    return [
        {
            "work": f"fd of 1,000 samples, DDPM on MNIST, {SOLVER_BATCHES} batches",
            "comparison": name,
            "ours": round(row["fd_mnist"], 4),
            "peer": round(many, 4),
            "ratio": round(row["fd_mnist"] / many, 3),
            "label_accuracy": row["label_accuracy"],
        }
        for name, row in found.items()
    ]


# ---------------------------------------------------------------------- condgen's U-Net against diffusers'


def unets(setting: Setting) -> Rows:
    """Train condgen's U-Net and diffusers' on as many images, without a condition, and score both."""
    config = ["-c", str(HERE / "ddpm.yaml"), "--model.encoder=condgen.conditions.NoCondition"]
    config += ["--model.sampler.guidance=1"]
    theirs = "--model.net=experiments.bench.peer_nets.DiffusersUNet"

    def one(name: str, flags: list[str], core: int) -> dict[str, float]:
        return scores(setting, core, trained(setting, core, name, UNET_BATCHES, *config, *flags), name, 1000)

    ours, peer = in_pairs([partial(one, "unet-ours", []), partial(one, "unet-diffusers", [theirs])])
    return [
        {
            "work": f"fd of 1,000 samples after {32 * UNET_BATCHES:,} images of MNIST, no condition",
            "comparison": "condgen's U-Net against diffusers'",
            "ours": round(ours["fd_mnist"], 4),
            "peer": round(peer["fd_mnist"], 4),
            "ratio": round(ours["fd_mnist"] / peer["fd_mnist"], 3),
        }
    ]


PARTS: Mapping[str, Part] = {
    **{f"quality/{model}": partial(precisions, model) for model in BATCHES},
    "quality/solver": solver,
    "quality/unets": unets,
}
