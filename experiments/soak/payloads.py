"""Malicious payloads in checkpoints, configs, flags and other files, times every verb that reads them: none runs.

python -m experiments.soak.payloads --count 3000

A payload that ran would make a file, or call something with a word that an audit hook listens for. Payloads are names
that YAML and checkpoints could import (`TARGETS`), and pickles. A control runs first: the same payloads do run when
they are called, so the watch sees what it should.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import subprocess
import tempfile
import warnings
from collections import Counter
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

import torch

from condgen.checkpoints import read_checkpoint
from experiments.soak.harness import call, call_process, watching
from experiments.soak.payload_places import PLACES, Runs
from experiments.soak.payload_targets import CODE, EVIL, PICKLE, PROOF, SHELL, TARGETS
from experiments.soak.record import record

AGAIN = 60
"""Every how many cases one is a process."""


def run(count: int, seed: int) -> dict[str, Any]:
    """Hide `count` payloads, each in a place, and let a verb read it.

    Returns:
        How many commands were refused, failed at work, or went on without the payload; by place; and the problems.
    """
    draw, found, places, problems = random.Random(seed), Counter[str](), Counter[str](), []
    with tempfile.TemporaryDirectory() as name, chdir(name), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepare()
        found["control"] = control()
        cases = [(place, target) for place in PLACES for target in TARGETS]
        draw.shuffle(cases)
        for number in range(count):
            place, (path, arguments) = cases[number % len(cases)]
            argv = place.hide(draw, path, dict(arguments))
            with watching() as events:
                outcome = call(argv, train=True)
            problem = outcome.problem
            if number % AGAIN == AGAIN - 1 and not problem and outcome.code:
                problem = call_process(argv, Path(name)).problem
                found["as processes"] += 1
            if events or ran():
                problem = f"IT RAN: {events} {ran()} {outcome}"
            if problem:
                problems.append({"place": place.name, "target": path, "argv": argv, "problem": problem[:3000]})
            else:
                found[{0: "went on without it", 1: "failed", 2: "refused"}[outcome.code or 0]] += 1
                places[place.name] += 1
            clean()
    return {**found, "places": dict(sorted(places.items())), "problems": problems}


def prepare() -> None:
    """Train a model, and write what payloads need."""
    args = ["fit", "-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml", "--runs", "kept"]
    small = ["--model.generator.hidden", "[8]", "--model.discriminator.hidden", "[8]", "--trainer.max_steps", "1"]
    outcome = call([*args, *small, "--trainer.limit_val_batches", "0", "--trainer.accelerator", "cpu"], train=True)
    assert outcome.code == 0, outcome
    next(Path("kept").glob("*/*")).rename("run")
    assert call(["export", "run", "shared"]).code == 0
    proof = f"open({PROOF!r}, 'w').close()"
    Path(f"{EVIL}.py").write_text(f"{proof}\ndef run(*args, **kwargs): {proof}\nclass Model: pass\n")
    Path("hubconf.py").write_text(f"{proof}\ndef run(): {proof}\n")
    Path(PICKLE).write_bytes(pickle.dumps(Runs(os.system, SHELL)))
    content = read_checkpoint("run")
    content["condgen"]["class_path"] = f"{EVIL}.Model"
    torch.save(content, "hidden.ckpt")


def control() -> int:
    """Run payloads on purpose; return how many the watch saw.

    Raises:
        AssertionError: If it missed one.
    """
    seen = 0
    for act in (
        lambda: os.system(SHELL),
        lambda: subprocess.run(["touch", PROOF], check=True),
        lambda: pickle.loads(Path(PICKLE).read_bytes()),
        lambda: torch.load(PICKLE, weights_only=False),
        lambda: exec(CODE),
    ):
        with watching() as events, suppress(Exception):
            act()
        assert events, act
        assert ran(), act
        seen += 1
        clean()
    return seen


def ran() -> bool:
    """Tell whether a payload made its file."""
    return Path(PROOF).exists()


def clean() -> None:
    """Remove what a case left."""
    for path in (Path("hostile"), Path("runs"), Path("out"), Path("compared.html"), Path("compared.md"), Path(PROOF)):
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    record("payloads", run, 3000)
