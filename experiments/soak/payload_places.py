"""Where payloads hide: files of a case in the folder `hostile`, and the command that reads them."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file

from condgen.checkpoints import read_checkpoint
from condgen.checkpoints.export import content_hash
from experiments.soak.payload_targets import CODE, EVIL, PROOF, SHELL


class Place(NamedTuple):
    """A kind of hiding place: what writes the files, and the command that reads them."""

    name: str
    hide: Callable[[random.Random, str, dict[str, Any]], list[str]]


class Runs:
    """A pickle that runs a command when it is loaded by anything but `weights_only`."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.args


# ---------------------------------------------------------------------- checkpoints

QUICK = ["--trainer.max_steps=2", "--trainer.limit_val_batches=0", "--evaluation.extractor=null",
         "--likelihood.n_images=4", "--trainer.accelerator=cpu"]  # fmt: skip
"""So that what is not refused is soon done."""
BASE = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml"]
READERS = ["sample", "interpolate", "info", "evaluate", "export", "test", "validate", "predict", "fit", "compare"]


def reading(draw: random.Random, checkpoint: str) -> list[str]:
    """Return a command that reads a checkpoint."""
    few = ["--extractor", "digits", "--n", "4", "--subset-size", "2"]
    commands = {
        "sample": ["sample", "--ckpt", checkpoint, "--n", "1", "--out", "out/x.png"],
        "interpolate": ["interpolate", "--ckpt", checkpoint, "--label", "1,2", "--frames", "2", "--out", "out/x.png"],
        "info": ["info", checkpoint],
        "evaluate": ["evaluate", "data/digits.yaml", checkpoint, *few],
        "export": ["export", checkpoint, "out"],
        "compare": ["compare", checkpoint, "run", "--out", "compared.html"],
        **{
            verb: [verb, "-c", "run", "--ckpt_path", checkpoint, *QUICK]
            for verb in ("test", "validate", "predict", "fit")
        },
    }
    return commands[draw.choice(READERS)]


def in_a_checkpoint(draw: random.Random, path: str, arguments: dict[str, Any]) -> list[str]:
    """Name a class in a checkpoint."""
    Path("hostile/checkpoints").mkdir(parents=True)
    content = read_checkpoint("run")
    name_in(draw, content["condgen"], content["hyper_parameters"], path, arguments)
    shutil.copy("run/config.yaml", "hostile/config.yaml")
    torch.save(content, "hostile/checkpoints/last.ckpt")
    return reading(draw, draw.choice(["hostile", "hostile/checkpoints/last.ckpt"]))


def in_an_export(draw: random.Random, path: str, arguments: dict[str, Any]) -> list[str]:
    """Name a class in an exported model."""
    Path("hostile").mkdir()
    card = json.loads(Path("shared/config.json").read_text())
    name_in(draw, card, card["init_args"], path, arguments)
    tensors, text = load_file("shared/model.safetensors"), json.dumps(card)
    metadata = {"format": "pt", "condgen": text, "sha256": content_hash(text, tensors)}
    save_file(tensors, "hostile/model.safetensors", metadata=metadata)
    Path("hostile/config.json").write_text(text)
    return reading(draw, draw.choice(["hostile", "hostile/model.safetensors"]))


def name_in(
    draw: random.Random, card: dict[str, Any], arguments: dict[str, Any], path: str, payload: dict[str, Any]
) -> None:
    """Put a name where a checkpoint may have one."""
    kind = draw.choice(["class_path", "factory"])
    hostile = {kind: path, "init_args": payload}
    match draw.randrange(4):
        case 0:
            card["class_path"] = path
        case 1:
            card["sampler"] = {"chunk": 4, **hostile}
        case 2:
            arguments[draw.choice(sorted(arguments))] = hostile
        case 3:
            arguments["generator"]["init_args"][draw.choice(["hidden", "latent_dim", "x"])] = [hostile]


def pickled(draw: random.Random, path: str, arguments: dict[str, Any]) -> list[str]:
    """Put a pickle that runs into a checkpoint, in one of torch's formats."""
    Path("hostile/checkpoints").mkdir(parents=True)
    file = Path("hostile/checkpoints/last.ckpt")
    calls = [Runs(os.system, SHELL), Runs(os.mkdir, PROOF), Runs(eval, CODE), Runs(exec, CODE),
             Runs(subprocess.Popen, ["touch", PROOF]), Runs(__import__, EVIL)]  # fmt: skip
    evil = draw.choice(calls)
    content = read_checkpoint("run")
    draw.choice([content, content["condgen"], content["hyper_parameters"], content["state_dict"]])["x"] = evil
    match draw.randrange(4):
        case 0:
            torch.save(content, file)
        case 1:
            torch.save(content, file, _use_new_zipfile_serialization=False)
        case 2:
            file.write_bytes(pickle.dumps(evil, protocol=draw.randrange(6)))
        case 3:
            torch.save(evil, file)
    shutil.copy("run/config.yaml", "hostile/config.yaml")
    return reading(draw, draw.choice(["hostile", str(file)]))


def beside_a_model(draw: random.Random, path: str, arguments: dict[str, Any]) -> list[str]:
    """Give a pickle where weights, images or arrays belong."""
    Path("hostile").mkdir()
    content = pickle.dumps(Runs(os.system, SHELL))
    name = draw.choice(
        ["x.pth", "x.pt", "x.safetensors", "x.npy", "x.npz", "x.ckpt", "x.png", "x.zip", "x.csv", "x.tar"]
    )
    file = Path("hostile", name)
    if name in ("x.pth", "x.pt") and draw.random() < 0.5:
        torch.save({"weights": Runs(os.system, SHELL)}, file)
    elif name == "x.npy":
        np.save(file, np.array([Runs(os.system, SHELL)], dtype=object), allow_pickle=True)
    else:
        file.write_bytes(content)
    few = ["--n", "4", "--subset-size", "2"]
    module = {"module": {"class_path": "torch.nn.Linear", "init_args": {"in_features": 2, "out_features": 2}}}
    weights = {**module, "name": "x", "image_shape": [1, 8, 8], "weights_path": str(file)}
    Path("hostile/x.yaml").write_text(
        yaml.safe_dump({"class_path": "condgen.metrics.ModuleExtractor", "init_args": weights})
    )
    return draw.choice(
        [
            ["evaluate", "data/digits.yaml", "run", "--extractor", str(file), *few],
            ["evaluate", "data/digits.yaml", "run", "--extractor", "hostile/x.yaml", *few],
            ["evaluate", "data/digits.yaml", str(file), "--extractor", "digits"],
            ["evaluate", str(file), "run", "--extractor", "digits", *few],
            ["data", "check", str(file)],
            ["sample", "--ckpt", str(file)],
            ["fit", "-c", "run", *QUICK, "--ckpt_path", str(file)],
            ["fit", "-c", str(file)],
        ]
    )


# ---------------------------------------------------------------------- configs and flags

KEYS = [
    ("model",), ("data",), ("trainer", "logger"), ("trainer", "callbacks"), ("trainer", "strategy"),
    ("trainer", "profiler"), ("trainer", "plugins"), ("trainer", "accelerator"), ("evaluation", "extractor"),
    ("evaluation", "obedience"), ("model", "init_args", "generator"), ("model", "init_args", "encoder"),
    ("model", "init_args", "loss"), ("model", "init_args", "generator_optimizer"), ("model", "init_args", "schedule"),
    ("data", "init_args", "augment"), ("optimizer",), ("lr_scheduler",), ("include",), ("name",),
]  # fmt: skip
LISTS = ("callbacks", "plugins", "obedience", "include")


def in_a_config(draw: random.Random, path: str, arguments: dict[str, Any]) -> list[str]:
    """Name something in a YAML, alone or with its arguments, at any place that takes a class."""
    Path("hostile").mkdir()
    keys = draw.choice(KEYS)
    payload: Any = draw.choice([path, {"class_path": path}, {"class_path": path, "init_args": arguments},
                                {"class_path": path, "dict_kwargs": arguments}])  # fmt: skip
    content: Any = [payload] if keys[-1] in LISTS and draw.random() < 0.8 else payload
    for key in reversed(keys):
        content = {key: content}
    text = yaml.safe_dump(content)
    if draw.random() < 0.15:
        text = draw.choice(
            [f"model: !!python/object/apply:os.system ['{SHELL}']\n", f"!!python/object/new:os.system ['{SHELL}']\n",
             f"model: !!python/name:{path} ''\n", f"model: !!python/module:{EVIL} ''\n"]
        )  # fmt: skip
    Path("hostile/x.yaml").write_text(text)
    return draw.choice(
        [
            ["fit", *BASE, *QUICK[:2], "-c", "hostile/x.yaml", QUICK[4]],
            ["fit", *BASE, *QUICK[:2], "-c", "hostile/x.yaml", QUICK[4]],
            ["test", *BASE, "-c", "hostile/x.yaml", "--ckpt_path", "run"],
            ["data", "show", "hostile/x.yaml", "--out", "out/x.png"],
            ["evaluate", "hostile/x.yaml", "run", "--extractor", "digits", "--n", "4"],
        ]
    )


def in_a_flag(draw: random.Random, path: str, arguments: dict[str, Any]) -> list[str]:
    """Name something in a flag."""
    keys = [key for key in draw.choice(KEYS) if key != "init_args"]
    value = draw.choice([path, json.dumps({"class_path": path, "init_args": arguments}), json.dumps([path])])
    flag = "--" + ".".join(keys) + draw.choice(["", "", "+", ".help", ".class_path"])
    words = draw.choice([[flag, value], [f"{flag}={value}"]])
    more = [f"--{'.'.join(keys)}.{key}={value}" for key, value in arguments.items() if draw.random() < 0.3]
    if draw.random() < 0.15:
        return ["sample", "--ckpt", "run", "--sampler", path, "--n", "1", "--out", "out/x.png"]
    return ["fit", *BASE, *QUICK, *words, *more]


def in_an_extractor(draw: random.Random, path: str, arguments: dict[str, Any]) -> list[str]:
    """Name something in the config of an extractor."""
    Path("hostile").mkdir()
    payload = {"class_path": path, "init_args": arguments}
    module = {"class_path": "condgen.metrics.ModuleExtractor",
              "init_args": {"module": draw.choice([payload, path]), "name": "x", "image_shape": [1, 8, 8]}}  # fmt: skip
    Path("hostile/x.yaml").write_text(yaml.safe_dump(draw.choice([payload, module])))
    return ["evaluate", "data/digits.yaml", "run", "--extractor", "hostile/x.yaml", "--n", "4", "--subset-size", "2"]


def in_a_run(draw: random.Random, path: str, arguments: dict[str, Any]) -> list[str]:
    """Name something in the files of a run that `compare` reads."""
    for name, word in (("hostile/a", "b"), ("hostile/b", "c")):
        shutil.copytree("run", name)
        rows = {"x": {"value": 1.0, "better": "higher"}}
        protocol = {"model": "CGAN", "split": "test", "data": "Digits", "checkpoint": f"{name}/checkpoints/last.ckpt",
                    "sampler": {"chunk": 4, "class_path": path, "init_args": arguments}}  # fmt: skip
        Path(name, "metrics.json").write_text(json.dumps({"scores": rows, "protocol": protocol}))
        hostile, digits = {"class_path": path, "init_args": arguments}, "condgen.data.Digits"
        inside = [{"augment": None, word: hostile}, {"batch_size": hostile}]
        kinds = [hostile, *({"class_path": digits, "init_args": init_args} for init_args in inside)]
        Path(name, "config.yaml").write_text(yaml.safe_dump({"data": draw.choice(kinds)}))
    return ["compare", "hostile/a", "hostile/b", "--out", "compared.html"]


WEIGHTS = {
    in_a_checkpoint: 3, in_an_export: 2, pickled: 1, beside_a_model: 1, in_a_config: 4, in_a_flag: 3,
    in_an_extractor: 1, in_a_run: 1,
}  # fmt: skip
"""Those that take a name come more often."""
PLACES = [Place(hide.__name__, hide) for hide, weight in WEIGHTS.items() for _ in range(weight)]
