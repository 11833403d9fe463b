"""SIGTERM from outside at random moments of five phases: a batch, a validation, a grid, a save, and twice in a row.

The run must end with 143 and a checkpoint of the last batch that was done, or of the one that was going on, and the
resumed run must end as the one that was never stopped. A run that is stopped in its last grid has ended without it.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random
from typing import Any

from condgen.callbacks import EvaluateSamples, SampleGrid
from condgen.checkpoints import atomic, read_checkpoint
from condgen.cli import main
from condgen.models.recorded import RecordedModule
from experiments.soak.runs import FAMILIES, SMALL, batches_seen, check_same, equal, fit, resume, trained

TRIALS = 200
LAST = 12
STEPS = ["--trainer.max_steps", str(LAST), "--checkpoint.every_n_batches", "2"]
ARGS = {name: [*FAMILIES[name], *STEPS] for name in ("cgan", "ddpm")}
PHASES: dict[str, tuple[Any, str, int]] = {
    "in a batch": (RecordedModule, "training_step", LAST),
    "in a validation": (EvaluateSamples, "on_validation_epoch_end", 4),
    "in a grid": (SampleGrid, "_of_classes", 2),
    "in a save": (atomic, "write_sealed", 10),
    "twice": (RecordedModule, "training_step", LAST),
}
"""Where each happens, and how often in a run."""


def prepare(folder: Path) -> dict[str, Path]:
    return {name: fit(folder / name, *args) for name, args in ARGS.items()}


def trial(seed: int, prepared: dict[str, Path], folder: Path) -> dict[str, Any]:
    draw, phase = Random(seed), list(PHASES)[seed % len(PHASES)]
    name = ("cgan", "ddpm")[seed // len(PHASES) % 2]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        tell_when(*PHASES[phase][:2], draw.randrange(PHASES[phase][2]) + 1, write)
        os._exit(main([*SMALL, *ARGS[name], "--runs", str(folder)]))
    os.close(write)
    begun = int(os.read(read, 20))
    for _ in range(2 if phase == "twice" else 1):
        time.sleep(draw.uniform(0.0, 0.004))
        os.kill(child, signal.SIGTERM)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 143, f"{phase}: ended with {code}"
    (run,) = folder.glob("*/*")
    done = batches_seen(run)
    assert done >= begun, f"{phase}: batch {begun} was done, batch {done} is saved"
    assert not list(run.glob("checkpoints/.*"))
    state = read_checkpoint(run)["callbacks"]
    ended = done == LAST and not state["Checkpoint"]["validating"]
    if not ended:
        resume(run)
    if ended and state["SampleGrid"]["owed"]:
        found = equal(without_grid(run), without_grid(prepared[name]))
        assert not found, found
    else:
        check_same(run, prepared[name])
    return {phase: 1}


def without_grid(run: Path) -> dict[str, Any]:
    """All that a run's last checkpoint holds but for the clock and what is said of pictures."""
    content = trained(run)
    del content["callbacks"]["SampleGrid"]
    return content


def tell_when(owner: Any, name: str, call: int, pipe: int) -> None:
    """Write the number of batches that are done into a pipe when a function is called so often."""
    function, seen = getattr(owner, name), {"calls": 0, "batches": 0}
    step = RecordedModule.training_step

    def training_step(self: RecordedModule, *args: Any) -> Any:
        seen["batches"] = self.batches_seen
        loss = step(self, *args)
        seen["batches"] += name != "training_step"
        return loss

    def telling(*args: Any, **kwargs: Any) -> Any:
        if owner is RecordedModule:
            seen["batches"] = args[0].batches_seen
        seen["calls"] += 1
        if seen["calls"] == call:
            os.write(pipe, str(seen["batches"]).encode())
        return function(*args, **kwargs)

    if owner is not RecordedModule:
        RecordedModule.training_step = training_step  # type: ignore[method-assign]
    setattr(owner, name, telling)
