"""What a user asks a model for on the command line: conditions, a row for each image that is wanted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from condgen.cli.errors import UserError, nearest

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from torch import Tensor

    from condgen.models import GenerativeModel
    from condgen.types import Condition

FLAGS = {
    "label": "--label",
    "attributes": "--attributes",
    "text": "--text",
    "source": "--source",
    "low_res": "--low-res",
    "style": "--style",
    "mask": "--mask",
    "known": "--known",
}
"""The option that gives each condition."""


def add_conditions(parser: ArgumentParser) -> None:
    """Add the options."""
    out = parser.add_argument_group(
        "conditions", "Of several rows each, or of one that goes with all rows of the others."
    )
    out.add_argument("--label", metavar="A,B", help="class names or numbers, or 0-4; default: every class")
    out.add_argument("--text", action="append", metavar="CAPTION", help="a caption; may be given again")
    out.add_argument(
        "--attributes",
        action="append",
        metavar="NAME=VALUE,...",
        help="such as size=0.2,colour=red; may be given again",
    )
    for name, what in (
        ("source", "images to translate"),
        ("low-res", "small images"),
        ("style", "images whose style is taken"),
        ("mask", "masks, a class per pixel: palette or grey"),
        ("known", "masks of pixels to keep: white, where black is filled in"),
    ):
        out.add_argument(f"--{name}", metavar="FILE_OR_FOLDER", help=what)


class Asked(NamedTuple):
    """Conditions as models take them, and a name for each row, fit for a file's name."""

    cond: Condition
    names: list[str]


def asked_for(options: Namespace, model: GenerativeModel) -> Asked:
    """Read the conditions that a model needs.

    Raises:
        UserError: If one is missing, unknown to the model, or wrong.
    """
    given = {key: getattr(options, key) for key in FLAGS if getattr(options, key) is not None}
    for key in given:
        if key not in model.condition_keys:
            raise UserError(f"this model takes no {key}; leave {FLAGS[key]} out; it takes {takes(model)}")
    if not given and set(model.condition_keys) == {"label"}:
        given["label"] = None
    missing = next((key for key in model.condition_keys if key not in given), None)
    if missing is not None:
        raise UserError(f"this model needs {missing}; give {FLAGS[missing]}; it takes {takes(model)}")
    rows: Condition = {}
    names: dict[str, list[str]] = {}
    for key, value in given.items():
        rows[key], names[key] = READERS[key](value, model)
    count = max(map(len, rows.values()), default=1)
    for key, value in rows.items():
        if len(value) not in (1, count):
            most = max(rows, key=lambda name: len(rows[name]))
            raise UserError(f"{FLAGS[key]} gives {len(value)} rows and {FLAGS[most]} {count}; give one, or as many")
    titles = ["-".join(names[key][row % len(names[key])] for key in names) for row in range(count)]
    if len(set(titles)) < len(titles):
        titles = [f"{row:03d}-{title}" for row, title in enumerate(titles)]
    return Asked({key: value.expand(count, *value.shape[1:]) for key, value in rows.items()}, titles)


def takes(model: GenerativeModel) -> str:
    """Name what a model is asked for."""
    return ", ".join(model.condition_keys) or "nothing"


def file_name(name: str, most: int = 60) -> str:
    """Make a name fit for a file's."""
    return re.sub(r"[^\w.+-]", "_", name)[:most]


# ---------------------------------------------------------------------- labels and attributes


def read_label(text: str | None, model: GenerativeModel) -> tuple[Tensor, list[str]]:
    """Read classes, all by default."""
    import torch

    names = model.cond_spec["label"]["names"]
    labels = parse_labels(text, names)
    if len(set(labels)) < len(labels):
        raise UserError("--label names the same one twice")
    return torch.tensor(labels), [f"label={file_name(str(names[label]))}" for label in labels]


def parse_labels(text: str | None, names: Sequence[str]) -> list[int]:
    """Read class names, or numbers where no class has that name; all classes by default."""
    if text is None:
        return list(range(len(names)))
    labels = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if part in names:
            labels.append(names.index(part))
        elif first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first) < len(names):
            labels += range(int(first), int(last or first) + 1)
        else:
            hint = "" if part.strip("-").isdecimal() or dash else nearest(part, names)
            raise UserError(f"no class {part!r}{hint}; classes go from 0 to {len(names) - 1}: {', '.join(names[:12])}")
    return labels


def read_attributes(texts: list[str], model: GenerativeModel) -> tuple[Tensor, list[str]]:
    """Read `name=value` pairs: numbers by attribute, or the name of one of a group, such as `colour=red`."""
    import torch

    spec = model.cond_spec["attributes"]
    rows = [attributes_row(text, spec) for text in texts]
    return torch.tensor(rows), [file_name(text) for text in texts]


def attributes_row(text: str, spec: dict[str, Any]) -> list[float]:
    """Read one row; what is not said is the middle of its range, and 0 for flags."""
    names, groups = list(spec["names"]), spec.get("groups", {})
    flags = {name for group in groups.values() for name in group.values()} | set(spec.get("flags", ()))
    row = [
        low if name in flags else (low + high) / 2
        for name, low, high in zip(names, spec["low"], spec["high"], strict=True)
    ]
    said = set()
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        said.add(name)
        if not equals or (name not in names and name not in groups):
            known = [*groups, *names]
            raise UserError(
                f"--attributes takes name=value, got {part!r}{nearest(name, known)}; names: {', '.join(known)}"
            )
        if name in groups:
            if value not in groups[name]:
                there = ", ".join(groups[name])
                raise UserError(f"--attributes: no {name} {value!r}{nearest(value, groups[name])}; there are {there}")
            name, value = groups[name][value], "1"
        row[names.index(name)] = attribute(name, value, spec)
    absent = next((name for name in groups if name not in said and not said & set(groups[name].values())), None)
    if absent is not None:
        raise UserError(f"--attributes must say {absent}: one of {', '.join(groups[absent])}")
    return row


def attribute(name: str, value: str, spec: dict[str, Any]) -> float:
    """Read a number; warn of one that training never saw."""
    try:
        number = float({"true": "1", "false": "0"}.get(value.lower(), value))
    except ValueError as error:
        raise UserError(f"--attributes: {name} must be a number, got {value!r}") from error
    place = spec["names"].index(name)
    low, high = spec["low"][place], spec["high"][place]
    if not low - 1e-6 <= number <= high + 1e-6:
        print(f"warning: {name}={number:g} is outside the range {low:g} to {high:g} that the model was trained on")
    return number


# ---------------------------------------------------------------------- text and pictures


def read_text(texts: list[str], model: GenerativeModel) -> tuple[Tensor, list[str]]:
    """Turn captions into bytes; one that is too long is cut."""
    import torch

    length = model.cond_spec["text"]["max_length"]
    rows = []
    for text in texts:
        content = text.encode()
        if not content.strip():
            raise UserError("--text must not be empty")
        if len(content) > length:
            content = content[:length].decode(errors="ignore").encode()
            print(f"warning: caption cut to the {length} bytes that the model takes: {content.decode()!r}")
        rows.append(list(content.ljust(length, b"\0")))
    return torch.tensor(rows, dtype=torch.uint8), [file_name(text) for text in texts]


def read_pictures(key: str, path: str, model: GenerativeModel) -> tuple[Tensor, list[str]]:
    """Read a file, or all images of a folder in order, brought to the size that the model takes."""
    import torch

    from condgen.data.decode import DecodeError, list_images
    from condgen.data.reading import MaskReading, Reading
    from condgen.pixels import conditions_to_model

    where, spec = Path(path), model.cond_spec[key]
    files = list_images(where) if where.is_dir() else [where]
    if not files:
        raise UserError(f"{FLAGS[key]} {path} holds no images")
    size = model.image_shape[1] // spec.get("factor", 1)
    reading = (
        MaskReading(size, num_classes=spec["num_classes"]) if key == "mask" else Reading(size, spec.get("channels", 1))
    )
    try:
        pixels = torch.stack([reading(file.read_bytes(), str(file)) for file in files])
    except (DecodeError, OSError) as error:
        raise UserError(f"{FLAGS[key]}: {error}") from error
    if key == "mask":
        pixels = pixels.squeeze(1)
    elif key == "known":
        pixels = (pixels > 127).to(torch.uint8)
    return conditions_to_model({key: pixels})[key], [file_name(file.stem) for file in files]


READERS: dict[str, Any] = {
    "label": read_label,
    "attributes": read_attributes,
    "text": read_text,
    **{
        key: (lambda path, model, key=key: read_pictures(key, path, model))
        for key in ("source", "low_res", "style", "mask", "known")
    },
}
"""What reads the value of each option: value and model -> rows, and a name for each."""
