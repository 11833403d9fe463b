"""Mutated checkpoints and exports: each is refused in a line; none runs anything, crashes, or loads what was altered.

Bytes are altered in files as they are written, and no checkpoint of which a byte has changed may load; keys and values
are altered in what files hold, which is written anew, as somebody would who wants them to be read. One in two hundred
goes through the command line, as a process; after each fortieth, a run trains on from a checkpoint of its own that was
altered and written anew, with its seal, and may say one line, run nothing, and touch no file but its own.
"""

from __future__ import annotations

import copy
import json
import math
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from condgen.checkpoints import AtomicCheckpointIO, CheckpointError, load_model, read_checkpoint
from condgen.checkpoints.export import content_hash
from condgen.models.weights_hash import weights_hash
from experiments.soak.harness import MARK, TooLong, call, call_process, inside, limited, watching
from experiments.soak.runs import FAMILIES, fit

TRIALS = 50
CASES = 200
"""Files of a trial."""
AGAIN = 200
"""Every how many cases one is a process."""
RESUMED = 40
"""After how many cases a run is resumed."""
NAMES = ("cgan", "vae", "ddpm")
FURTHER = ("--trainer.max_steps", "3", "--trainer.max_time", "00:00:00:05", "--checkpoint.keep", "1")
"""Options of a run that trains on for a step, or for seconds, if its counters were altered."""
RANKED = {"vae": ("--checkpoint.monitor", "val/elbo")}
"""Scores of what is kept, where there are any."""
VALUES: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**12, -(10**12), 0.5, 1e308, math.nan, math.inf, "", "x", "a" * 10_000, "💥",
    [], {}, [[]], [None], [10**12], {"class_path": "x"}, {"factory": "os.system", "init_args": {}}, (1, 2), "\0",
    {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", MARK]}}, {"factory": "condgen.models.CGAN"},
    {"class_path": "condgen.processes.DDIM", "init_args": {"steps": 10**12}}, {"init_args": {}}, {1: 2}, b"bytes",
    {"factory": "torch.nn.Linear", "init_args": {"in_features": 10**12, "out_features": 10**12}}, "condgen.nets.UNet",
    torch.zeros(3), torch.full((2, 2), math.nan), torch.zeros(0), torch.zeros(1, dtype=torch.complex64),
]  # fmt: skip
Change = Callable[[random.Random, Path, Path], None]


def prepare(folder: Path) -> Path:
    """Train small models; keep a checkpoint and an export of each, and its run's folder."""
    folder.mkdir(parents=True)
    with chdir(folder):
        for name in NAMES:
            run = fit(Path("runs"), *FAMILIES[name], "--trainer.max_steps", "2")
            assert call(["export", str(run), f"{name}.safetensors"]).code == 0
            shutil.copy(run / "checkpoints" / "last.ckpt", f"{name}.ckpt")
            run.rename(name)
    return folder


def trial(seed: int, prepared: Path, folder: Path) -> dict[str, Any]:
    """Alter files, and load each; count what became of them."""
    draw, found, problems = random.Random(seed), Counter[str](), []
    with inside(prepared, folder) as work:
        originals = sorted(path for path in Path().iterdir() if path.is_file())
        known = {path: identity(path) for path in originals}
        for number in range(CASES):
            original, kind = draw.choice(originals), draw.choice(sorted(CHANGES))
            file = Path(f"altered{original.suffix}")
            CHANGES[kind](draw, original, file)
            result = judged(file, original, known[original], anew=kind in ANEW)
            if (seed * CASES + number) % AGAIN == AGAIN - 1 and not result.startswith("problem"):
                found["again as processes"] += 1
                result = as_process(file, result, work)
            if result.startswith("problem"):
                problems.append({"kind": kind, "file": original.name, "number": number, "problem": result[:3000]})
            else:
                found[result] += 1
            if number % RESUMED == RESUMED - 1:
                result = resumed(random.Random(f"{seed} {number}"))
                if result.startswith("problem"):
                    problems.append({"kind": "resumed", "number": number, "problem": result[:3000]})
                else:
                    found[result] += 1
    assert not problems, json.dumps(problems, indent=1)
    return dict(found)


def identity(path: Path) -> str:
    """Return what a model is when it is loaded."""
    model = load_model(path)
    facts = [type(model).__name__, model.init_args, model.sampler_card, model.progress(), weights_hash(model)]
    return json.dumps(facts, sort_keys=True, default=str)


def judged(file: Path, original: Path, known: str, *, anew: bool) -> str:
    """Load an altered file; say what became of it."""
    try:
        with watching() as events, limited():
            found = identity(file)
    except CheckpointError as error:
        fine = len(str(error).splitlines()) == 1 and len(str(error)) < 1000 and not events
        return "refused" if fine else f"problem: {events}: {error}"
    except TooLong:
        return "problem: hang"
    except BaseException as error:
        return f"problem: {type(error).__name__}: {error}"
    if events:
        return f"problem: it ran {events}"
    if anew:
        return "written anew and loaded"
    altered = found != known or (file.suffix == ".ckpt" and file.read_bytes() != original.read_bytes())
    return "problem: altered bytes were loaded" if altered else "loaded as the original"


def as_process(file: Path, result: str, folder: Path) -> str:
    """Let the command line read the file in a process of its own."""
    outcome = call_process(["info", str(file)], folder)
    due = 2 if result == "refused" else 0
    return result if outcome.code == due and not outcome.problem else f"problem: process {outcome} after {result}"


# ---------------------------------------------------------------------- training


def resumed(draw: random.Random) -> str:
    """Let a run train on from an altered checkpoint; say what became of it."""
    name = draw.choice(NAMES)
    run = Path(shutil.copytree(name, "resumed", ignore=shutil.ignore_patterns("images=*")))
    file, before = run / "checkpoints" / "last.ckpt", others(run)
    content = read_checkpoint(file)
    parts = [content, *(content[part] for part in ("loops", "callbacks", "condgen")), *content["optimizer_states"]]
    if draw.randrange(4) == 0:
        content["callbacks"]["Checkpoint"]["scores"] = {str(Path(f"{name}.ckpt").absolute()): draw.choice((-1e9, 1e9))}
    else:
        for _ in range(draw.choice((1, 1, 2))):
            alter(draw, draw.choice(parts))
    AtomicCheckpointIO().save_checkpoint(content, file)
    with watching() as events:
        outcome = call(["fit", "--resume", str(run), *FURTHER, *RANKED.get(name, ())], train=True)
    lost = before.items() - others(run).items()
    shutil.rmtree(run)
    if outcome.problem or events or lost or (outcome.code and len(outcome.err.strip().splitlines()) > 1):
        return f"problem: {outcome}; it ran {events}; it touched {sorted(lost)}"
    return "trained on" if outcome.code == 0 else "not trained on"


def others(run: Path) -> dict[str, int]:
    """When each file here was written that is not the run's."""
    files = (path for path in Path().rglob("*") if path.is_file() and run not in path.parents)
    return {str(path): path.stat().st_mtime_ns for path in files}


# ---------------------------------------------------------------------- bytes


def flipped(draw: random.Random, original: Path, file: Path) -> None:
    content = bytearray(original.read_bytes())
    for _ in range(draw.choice((1, 1, 1, 3, 30, 300))):
        content[near_an_end(draw, len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def near_an_end(draw: random.Random, size: int) -> int:
    """Choose a byte, the first and last hundreds more often than chance would."""
    return draw.choice(
        (draw.randrange(size), draw.randrange(min(2000, size)), size - 1 - draw.randrange(min(2000, size)))
    )


def truncated(draw: random.Random, original: Path, file: Path) -> None:
    content = original.read_bytes()
    file.write_bytes(content[: near_an_end(draw, len(content))])


def overwritten(draw: random.Random, original: Path, file: Path) -> None:
    content = bytearray(original.read_bytes())
    place, size = near_an_end(draw, len(content)), draw.choice((1, 4, 8, 64, 4096))
    content[place : place + size] = draw.choice((bytes(size), b"\xff" * size, draw.randbytes(size)))
    file.write_bytes(content)


def moved(draw: random.Random, original: Path, file: Path) -> None:
    content = original.read_bytes()
    one, other = sorted(near_an_end(draw, len(content)) for _ in range(2))
    cut, turned, doubled = content[:one] + content[other:], content[other:] + content[:other], content[:other] * 2
    before = draw.randbytes(draw.choice((1, 100))) + content
    ways = [cut, turned, doubled, before, content + content[one:other]]
    file.write_bytes(draw.choice(ways))


def foreign(draw: random.Random, original: Path, file: Path) -> None:
    file.write_bytes(
        draw.choice([b"", b"\0" * 1000, b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x80\x02.", b"{}", b"GIF89a",
                     b"\x80\x04cposix\nsystem\n(S'touch " + MARK.encode() + b"'\ntR.", draw.randbytes(500)])
    )  # fmt: skip


# ---------------------------------------------------------------------- keys and values


def rewritten(draw: random.Random, original: Path, file: Path) -> None:
    """Change what a file holds, and write it as if it had always been so."""
    if original.suffix == ".safetensors":
        rewritten_export(draw, original, file)
        return
    content = copy.deepcopy(read_checkpoint(original))
    kept = content.pop("optimizer_states", None), content.pop("loops", None)
    for _ in range(draw.choice((1, 1, 2))):
        alter(draw, draw.choice([content, content["condgen"], content["hyper_parameters"], content]))
    content["optimizer_states"], content["loops"] = kept
    torch.save(content, file)


def rewritten_export(draw: random.Random, original: Path, file: Path) -> None:
    tensors, holder = load_file(original), read_checkpoint(original)
    card: dict[str, Any] = {
        **holder["condgen"],
        "init_args": holder["hyper_parameters"],
        "training": None,
        "weights_sha256": "",
    }
    card = copy.deepcopy(card)
    for _ in range(draw.choice((1, 1, 2))):
        alter(draw, draw.choice([card, card, tensors]))
    tensors = {str(name): value for name, value in tensors.items() if isinstance(value, Tensor)}
    text = json.dumps(card, default=str, skipkeys=True)
    metadata = {"format": "pt", "condgen": text, "sha256": content_hash(text, tensors)}
    save_file({name: value.clone() for name, value in tensors.items()}, file, metadata=metadata)


def alter(draw: random.Random, content: dict[Any, Any]) -> None:
    """Rename, drop or replace a part of nested mappings and lists."""
    found = list(places(content))
    if not found:
        return
    parent, key = draw.choice(found)
    change = draw.randrange(4)
    if change == 0:
        del parent[key]
    elif change == 1 and isinstance(parent, dict):
        parent[draw.choice(["x", f"{key}x", "", "__class__", str(key).upper()])] = parent.pop(key)
    elif change == 2 and isinstance(parent[key], Tensor):
        value = parent[key]
        ways = [value.double(), value.half(), value.flatten(), value[None], value * math.nan, value.to(torch.int32)]
        parent[key] = draw.choice(ways)
    else:
        parent[key] = copy.deepcopy(draw.choice(VALUES))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each place of nested mappings and lists by what holds it and its key."""
    for key, item in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, key
        if isinstance(item, dict | list):
            yield from places(item)


CHANGES: dict[str, Change] = {
    "flipped": flipped,
    "truncated": truncated,
    "overwritten": overwritten,
    "moved": moved,
    "foreign": foreign,
    "rewritten": rewritten,
    "rewritten more": rewritten,
}
ANEW = ("rewritten", "rewritten more")
