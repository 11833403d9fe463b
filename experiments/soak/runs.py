"""Small runs that are stopped and go on, and what is compared of them; the tests use them too."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from condgen.callbacks.run_log import read_rows
from condgen.checkpoints import read_checkpoint
from condgen.cli import main

SMALL = [
    "fit", "-c", "trainer/default.yaml", "-c", "data/digits.yaml", "--data.batch_size", "192",
    "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "2",
    "--trainer.val_check_interval", "3", "--evaluation.n_samples", "20", "--evaluation.extractor", "null",
    "--checkpoint.every_n_batches", "4", "--grid.columns", "1", "--grid.every_n_images", "1000",
]  # fmt: skip
"""Five batches an epoch."""
CGAN = ["-c", "model/cgan.yaml", "--model.generator.hidden", "[8]", "--model.discriminator.hidden", "[8]"]
FAMILIES = {
    "cgan": CGAN,
    "dcgan": ["-c", "model/dcgan.yaml", "--model.generator.width", "2", "--model.discriminator.width", "2"],
    "vae": ["-c", "model/mlp_vae.yaml"],
    "ddpm": [
        "-c", "model/ddpm.yaml", "--model.net.width", "8", "--model.net.multipliers", "[1,1]",
        "--model.net.blocks", "1", "--model.sampler.steps", "2",
    ],
    "classifier": ["-c", "model/classifier.yaml"],
}  # fmt: skip


def fit(runs: Path, *args: str, code: int = 0) -> Path:
    """Begin a run that ends with a code; return its folder."""
    before = set(runs.glob("*/*"))
    assert main([*SMALL, "--runs", str(runs), *args]) == code
    (folder,) = set(runs.glob("*/*")) - before
    return folder


def resume(run: Path, *args: str, code: int = 0) -> None:
    assert main(["fit", "--resume", str(run), *args]) == code


def in_child(work: Callable[[], int]) -> int:
    """Run something in a process of its own; return its code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trained(run: Path) -> dict[str, Any]:
    """All that a run's last checkpoint holds but for the clock."""
    content = read_checkpoint(run)
    del content["callbacks"]["TrainingTime"]
    return content


def batches_seen(run: Path) -> int:
    return int(read_checkpoint(run)["condgen"]["progress"]["batches_seen"])


def rows(run: Path) -> list[dict[str, str]]:
    """What a run has logged but for the clock."""
    told = [{k: v for k, v in row.items() if not k.startswith("time/") and v} for row in read_rows(run / "metrics.csv")]
    return [row for row in told if row.keys() != {"step"}]


def pictures(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "samples").glob("*")}


def equal(a: Any, b: Any, where: str = "") -> str:
    """Say where two nested values differ; nothing if they are the same, bit for bit."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return "" if a.dtype == b.dtype and torch.equal(a, b) else where
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f"{where}: keys {a.keys() ^ b.keys()}"
        return next((found for key in a if (found := equal(a[key], b[key], f"{where}.{key}"))), "")
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return next(
            (found for i, (x, y) in enumerate(zip(a, b, strict=True)) if (found := equal(x, y, f"{where}.{i}"))), ""
        )
    return "" if a == b else f"{where}: {a!r} and {b!r}"


def check_same(run: Path, whole: Path) -> None:
    """Weights, averages, optimizers, counters, losses, scores, pictures and what is kept: bit for bit."""
    for read in (trained, rows):
        found = equal(read(run), read(whole), read.__name__)
        assert not found, found
    assert pictures(run) == pictures(whole), (sorted(pictures(run)), sorted(pictures(whole)))
    assert {path.name for path in run.rglob("*.ckpt")} == {path.name for path in whole.rglob("*.ckpt")}
