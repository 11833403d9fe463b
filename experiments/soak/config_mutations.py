"""Configs and command lines with something wrong in them."""

from __future__ import annotations

import copy
import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from condgen.cli.files import find_config
from condgen.cli.includes import with_includes
from condgen.yaml_file import read_yaml

CONFIGS = [
    ["data/digits.yaml", "model/cgan.yaml"],
    ["data/digits.yaml", "model/vae.yaml"],
    ["data/digits.yaml", "model/ddpm.yaml"],
    ["data/digits.yaml", "model/dcgan.yaml"],
    ["data/shapes.yaml", "model/wgan_gp.yaml"],
    ["data/digits.yaml", "model/classifier.yaml"],
]
SMALL = {
    "trainer": {"accelerator": "cpu", "max_steps": 1, "logger": True, "devices": 1, "callbacks": []},
    "checkpoint": {"every_n_batches": 5, "keep": 1, "monitor": None},
    "grid": {"every_n_images": 100, "columns": 4},
    "name": "mutated",
    "seed_everything": 3,
}
VALUES: list[Any] = [
    None, True, False, "", "x", "Digits", "💥", "a" * 3000, "os.system", "../../etc/passwd", "http://127.0.0.1:1/x",
    "${oc.env:HOME}", "$(touch x)", "!!python/name:os.system", "\0", "a\nb\nc\nd\ne", "{", "[1", "-", "--", "null", "~",
    -1, 0, 1, 2**31, 2**63, -(10**12), 10**12, 10**20, 0.5, 1e308, -1e308, math.nan, math.inf, [], {}, [[]], [None],
    [1, "x"], [10**12], {"a": 1}, {"class_path": "x"}, {"class_path": None}, {"init_args": {}}, {"init_args": 3},
    {"class_path": "condgen.models.CGAN"}, {"class_path": ["os", "system"]}, {1: 2}, {None: None}, "2026-99-99",
    "condgen.nets.UNet", "condgen.data.Digits", "torch.nn.Linear", "torch.optim.SGD",
]  # fmt: skip
FLAGS = [
    "--trainer.max_steps", "--trainer.devices", "--trainer.precision", "--trainer.strategy", "--trainer.logger",
    "--trainer.callbacks", "--trainer.callbacks+", "--trainer.plugins", "--trainer.profiler", "--trainer.accelerator",
    "--trainer.num_nodes", "--trainer.limit_val_batches", "--trainer.val_check_interval", "--model", "--model.loss",
    "--model.generator", "--model.generator.hidden", "--model.encoder", "--model.ema_half_life", "--model.schedule",
    "--model.net", "--model.sampler", "--model.sampler.steps", "--data", "--data.batch_size", "--data.augment",
    "--data.eval_batch_size", "--evaluation.extractor", "--evaluation.n_samples", "--evaluation.obedience", "--config",
    "--checkpoint.monitor", "--checkpoint.keep", "--grid.columns", "--seed_everything", "--name", "--runs", "-c",
    "--ckpt_path", "--weights_only", "--include", "--trust", "--help.x", "--model.help", "--likelihood.samples",
    "--collapse.every_n_steps", "--optimizer", "--lr_scheduler", "--return_predictions", "--trust=", "-", "--",
    "--resume", "--allow_changes",
]  # fmt: skip
SAMPLE_FLAGS = [
    "--label", "--n", "--seeds", "--out", "--device", "--raw", "--sampler", "--steps", "--guidance", "--eta", "--text",
    "--attributes", "--source", "--mask", "--ckpt", "--frames", "--trust",
]  # fmt: skip
EVALUATE_FLAGS = [
    "--extractor", "--train", "--split", "--resize", "--pad", "--grey", "--on-error", "--subset-size", "--n", "--seed",
    "--raw", "--device", "--data.root", "--data.batch_size", "--out", "--trust", "--obedience",
]  # fmt: skip


def mutation(draw: random.Random, folder: Path, checkpoint: str) -> tuple[str, list[str]]:
    """Write a config with something wrong in it, or a command line; return its kind and the words of the command."""
    content = merged(draw.choice(CONFIGS))
    content["trainer"].update(SMALL["trainer"])  # type: ignore[call-overload]
    content |= {key: copy.deepcopy(value) for key, value in SMALL.items() if key != "trainer"}
    file = folder / "mutated.yaml"
    kind = draw.choice(["key", "key", "drop", "class", "value", "value", "swap", "wrap", "text", "flag", "other"])
    if kind == "other":
        file.write_text(yaml.safe_dump(content))
        return other_verb(draw, file, checkpoint)
    if kind in DICTS:
        DICTS[kind](draw, content)
    text = yaml.safe_dump(content, sort_keys=False)
    file.write_bytes(corrupt(draw, text.encode()) if kind == "text" else text.encode())
    verb = draw.choice(["fit", "fit", "fit", "test", "validate", "predict"])
    argv = [verb, "-c" if draw.random() < 0.9 else "--config", file.name]
    if verb in ("test", "validate", "predict") and draw.random() < 0.9:
        argv += ["--ckpt_path", checkpoint]
    for _ in range(draw.choice((1, 1, 2, 4)) if kind == "flag" else 0):
        argv = with_flag(draw, argv, FLAGS)
    return kind, argv


def merged(names: list[str]) -> dict[str, Any]:
    """Merge shipped configs."""
    out: dict[str, Any] = {}
    for name in ["trainer/default.yaml", *names]:
        for path in with_includes(find_config(name)):
            merge(out, {key: part for key, part in read_yaml(path).items() if key != "include"})
    return out


def merge(into: dict[str, Any], part: dict[str, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each part of nested mappings and lists."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


def parent_of(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        content = content[key]
    return content


def misspelt_key(draw: random.Random, content: dict[str, Any]) -> None:
    path = draw.choice([path for path in places(content) if isinstance(path[-1], str)])
    parent = parent_of(content, path)
    parent[misspelt(draw, path[-1])] = parent.pop(path[-1])


def dropped(draw: random.Random, content: dict[str, Any]) -> None:
    path = draw.choice(list(places(content)))
    del parent_of(content, path)[path[-1]]


def misspelt_class(draw: random.Random, content: dict[str, Any]) -> None:
    found = [
        path for path in places(content) if str(parent_of(content, path)[path[-1]]).startswith(("condgen.", "torch."))
    ]
    path = draw.choice(found)
    parent = parent_of(content, path)
    parent[path[-1]] = misspelt(draw, parent[path[-1]])


def wrong_value(draw: random.Random, content: dict[str, Any]) -> None:
    path = draw.choice(list(places(content)))
    parent_of(content, path)[path[-1]] = copy.deepcopy(draw.choice(VALUES))


def swapped(draw: random.Random, content: dict[str, Any]) -> None:
    one, other = draw.choice(list(places(content))), draw.choice(list(places(content)))
    part = copy.deepcopy(parent_of(content, other)[other[-1]])
    parent_of(content, one)[one[-1]] = part


def wrapped(draw: random.Random, content: dict[str, Any]) -> None:
    path = draw.choice(list(places(content)))
    parent = parent_of(content, path)
    part = parent[path[-1]]
    parent[path[-1]] = draw.choice(
        [[part], {"class_path": part}, {"init_args": part}, {str(path[-1]): part}, str(part)]
    )


DICTS = {
    "key": misspelt_key,
    "drop": dropped,
    "class": misspelt_class,
    "value": wrong_value,
    "swap": swapped,
    "wrap": wrapped,
}


def misspelt(draw: random.Random, name: str) -> str:
    """Leave out, double, swap or replace a character."""
    place = draw.randrange(len(name))
    before, letter, after = name[:place], name[place], name[place + 1 :]
    return draw.choice(
        [before + after, before + letter * 2 + after, before + after[:1] + letter + after[1:], before + "q" + after,
         name.upper(), f" {name}", f"{name}.", f"{name}.x", ""]
    )  # fmt: skip


def corrupt(draw: random.Random, text: bytes) -> bytes:
    """Cut, overwrite, insert or repeat bytes."""
    place = draw.randrange(len(text))
    junk = draw.choice(
        [b"\t", b"\0", b"\xff\xfe", b"{", b"]", b": :", b"&a *a", b"- ", b"!!python/object/apply:os.system [x] ", b"'",
         b"\n\n---\n", b"%YAML 9.9\n", b"<<: *x", draw.randbytes(8), b"[" * 2000, b"? ", b"|", b"\r", b"\xe2\x80\xa8"]
    )  # fmt: skip
    return draw.choice(
        [text[:place], text[:place] + junk + text[place:], text[:place] + junk + text[place + len(junk) :], text + text,
         text.replace(b": ", b":", 1), text.replace(b"  ", b"\t", 1), b"", text[::-1]]
    )  # fmt: skip


def with_flag(draw: random.Random, argv: list[str], flags: list[str]) -> list[str]:
    """Add a flag, perhaps misspelt, perhaps without a value, somewhere."""
    flag = draw.choice(flags)
    if draw.random() < 0.3:
        flag = misspelt(draw, flag)
    value = str(draw.choice(VALUES)).replace("\0", "")
    words = draw.choice([[flag, value], [flag, value], [f"{flag}={value}"], [flag], [value]])
    place = draw.choice([len(argv), len(argv), draw.randint(1, len(argv))])
    return [*argv[:place], *words, *argv[place:]]


def other_verb(draw: random.Random, file: Path, checkpoint: str) -> tuple[str, list[str]]:
    """Misuse a verb other than Lightning's."""
    few = ["--n", "20", "--subset-size", "10"]
    bases: list[tuple[list[str], list[str]]] = [
        (["sample", "--ckpt", checkpoint, "--n", "2"], SAMPLE_FLAGS),
        (["interpolate", "--ckpt", checkpoint, "--label", "1,2"], SAMPLE_FLAGS),
        (["evaluate", file.name, checkpoint, "--extractor", "digits", *few], EVALUATE_FLAGS),
        (["evaluate", "data/digits.yaml", checkpoint, "--extractor", file.name], EVALUATE_FLAGS),
        (["info", checkpoint], SAMPLE_FLAGS),
        (["export", checkpoint, "shared"], SAMPLE_FLAGS),
        (["compare", checkpoint, checkpoint], SAMPLE_FLAGS),
        (["data", "show", file.name], EVALUATE_FLAGS),
        (["data", "check", "."], EVALUATE_FLAGS),
    ]
    argv, flags = draw.choice(bases)
    shutil.rmtree("shared", ignore_errors=True)
    for _ in range(draw.choice((1, 1, 2, 3))):
        change = draw.randrange(4)
        if change < 2:
            argv = with_flag(draw, argv, flags)
        elif change == 2:
            place = draw.randrange(len(argv))
            argv = [*argv[:place], misspelt(draw, argv[place]) if argv[place] else "x", *argv[place + 1 :]]
        else:
            place = draw.randrange(len(argv))
            argv = [*argv[:place], *argv[place + 1 :]] or ["x"]
    if argv[0] in ("fit", "quickstart", "test", "validate", "predict") or not argv[0]:
        argv = ["x", *argv]
    return "words", argv
