"""Ten thousand batches: once all parts have been at work, the process takes no more memory than before.

Validations with scores, pictures, checkpoints and logs are in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from condgen.cli import main
from condgen.models.recorded import RecordedModule
from experiments.soak.runs import CGAN, FAMILIES

NAMES = ("cgan", "ddpm")
TRIALS = len(NAMES)
BATCHES, WARM_UP, EVERY = 10_000, 2_000, 100
MOST = 20.0
"""Megabytes."""
SETTINGS = [
    "fit", "-c", "trainer/default.yaml", "-c", "data/digits.yaml", "--data.batch_size", "32",
    "--data.augment", "RandomFlip", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false",
    "--trainer.max_steps", str(BATCHES), "--trainer.val_check_interval", "1000", "--evaluation.n_samples", "100",
    "--evaluation.subset_size", "50", "--checkpoint.every_n_batches", "500", "--grid.every_n_images", "20000",
]  # fmt: skip


def prepare(folder: Path) -> None:
    """Do nothing."""


def trial(seed: int, prepared: None, folder: Path) -> dict[str, Any]:
    name, seen = NAMES[seed % len(NAMES)], dict[int, float]()
    step = RecordedModule.training_step

    def training_step(self: RecordedModule, *args: Any) -> Any:
        if self.batches_seen % EVERY == 0:
            seen[self.batches_seen] = megabytes()
        return step(self, *args)

    RecordedModule.training_step = training_step  # type: ignore[method-assign]
    arguments = {"cgan": CGAN, "ddpm": FAMILIES["ddpm"]}[name]
    assert main([*SETTINGS, *arguments, "--runs", str(folder)]) == 0
    assert len(seen) == BATCHES // EVERY
    more = max(value - seen[WARM_UP] for batch, value in seen.items() if batch > WARM_UP)
    assert more <= MOST, f"{name} takes {more:.1f} MB more: {seen}"
    return {"batches": BATCHES, f"MB more of {name}": round(more, 2), "course": list(seen.values())[:: 1000 // EVERY]}


def megabytes() -> float:
    """Return the memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
