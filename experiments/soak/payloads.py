"""Malicious payloads in checkpoints, configs, flags and other files, times every verb that reads them: none runs.

A payload that ran would make a file, or call something with a word that an audit hook listens for. Payloads are names
that YAML and checkpoints could import (`TARGETS`), and pickles. A control runs first: the same payloads do run when
they are called, so the watch sees what it should.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import subprocess
from collections import Counter
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

import torch

from condgen.checkpoints import read_checkpoint
from experiments.soak.harness import call, call_process, inside, watching
from experiments.soak.payload_places import PLACES, Runs
from experiments.soak.payload_targets import CODE, EVIL, PICKLE, PROOF, SHELL, TARGETS
from experiments.soak.runs import CGAN, fit

TRIALS = 50
CASES = 60
"""Payloads of a trial."""
AGAIN = 60
"""Every how many cases one is a process."""
PAIRS = [(place, target) for place in PLACES for target in TARGETS]
random.Random(0).shuffle(PAIRS)
RESULTS = {0: "went on without it", 1: "failed at work", 2: "refused"}


def prepare(folder: Path) -> Path:
    """Train a model, and write what payloads need."""
    folder.mkdir(parents=True)
    with chdir(folder):
        fit(Path("kept"), *CGAN, "--trainer.max_steps", "1").rename("run")
        assert call(["export", "run", "shared"]).code == 0
        proof = f"open({PROOF!r}, 'w').close()"
        Path(f"{EVIL}.py").write_text(f"{proof}\ndef run(*args, **kwargs): {proof}\nclass Model: pass\n")
        Path("hubconf.py").write_text(f"{proof}\ndef run(): {proof}\n")
        Path(PICKLE).write_bytes(pickle.dumps(Runs(os.system, SHELL)))
        content = read_checkpoint("run")
        content["condgen"]["class_path"] = f"{EVIL}.Model"
        torch.save(content, "hidden.ckpt")
    return folder


def trial(seed: int, prepared: Path, folder: Path) -> dict[str, Any]:
    """Hide payloads, each in a place, and let a verb read it; count what became of the commands, also by place."""
    draw, found, places, problems = random.Random(seed), Counter[str](), Counter[str](), []
    with inside(prepared, folder) as work:
        found["controls seen"] = control()
        for number in range(seed * CASES, (seed + 1) * CASES):
            place, (path, arguments) = PAIRS[number % len(PAIRS)]
            argv = place.hide(draw, path, dict(arguments))
            with watching() as events:
                outcome = call(argv, train=True)
            problem = outcome.problem
            if number % AGAIN == AGAIN - 1 and not problem and outcome.code:
                problem = call_process(argv, work).problem
                found["again as processes"] += 1
            if events or ran():
                problem = f"IT RAN: {events} {ran()} {outcome}"
            if problem:
                problems.append({"place": place.name, "target": path, "argv": argv, "problem": problem[:3000]})
            else:
                found[RESULTS[outcome.code or 0]] += 1
                places[place.name] += 1
            clean()
    assert not problems, json.dumps(problems, indent=1)
    return {**found, "places": dict(sorted(places.items()))}


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
