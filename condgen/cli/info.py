"""`condgen info`: what a checkpoint is, and what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from condgen.cli.errors import RUN_OR_FILE, UserError
from condgen.cli.parser import OneLineParser

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from condgen.models import GenerativeModel

SHOWN = 12


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Load and describe."""
    parser = OneLineParser(
        prog="condgen info", description="Say what a checkpoint is, and which conditions it takes.", allow_abbrev=False
    )
    parser.add_argument("ckpt", metavar="RUN_OR_FILE", help=RUN_OR_FILE)
    options = parser.parse_args(args)

    from condgen.checkpoints import CheckpointError, find_checkpoint, load_model

    try:
        model = load_model(options.ckpt, trusted=trusted)
    except CheckpointError as error:
        raise UserError(str(error)) from error
    print(f"checkpoint   {find_checkpoint(options.ckpt)}")
    for title, text in about(model):
        print(f"{title:<13}{text}")
    return 0


def about(model: GenerativeModel) -> Iterator[tuple[str, str]]:
    """Describe a model, line by line."""
    from condgen.models.weights_hash import weights_hash

    channels, height, width = model.image_shape
    weights = "averaged" if model.averaged else "raw"
    yield "model", f"{type(model).__name__}, {sum(p.numel() for p in model.sampling_net.parameters()):,} parameters"
    yield "images", f"{height}x{width}, {'grey' if channels == 1 else 'colour'}"
    yield "trained", f"on {model.images_seen:,} images; samples by its {weights} weights, {weights_hash(model)[:12]}…"
    card = model.sampler_card
    name = str(card.get("class_path", "one pass of the net")).rpartition(".")[2]
    settings = ", ".join(f"{key}={value}" for key, value in card.get("init_args", {}).items())
    yield "sampler", f"{name}({settings})" if settings else name
    if not model.condition_keys:
        yield "conditions", "none"
    for key in model.condition_keys:
        yield key, describe(key, model.cond_spec[key], model)


def describe(key: str, spec: dict[str, Any], model: GenerativeModel) -> str:
    """Say what a condition may be."""
    height, width = (side // spec.get("factor", 1) for side in model.image_shape[1:])
    match key:
        case "label":
            return f"{len(spec['names'])} classes: {some(spec['names'])}"
        case "attributes":
            ranges = zip(spec["names"], spec["low"], spec["high"], strict=True)
            groups = {name: " or ".join(group) for name, group in spec.get("groups", {}).items()}
            grouped = {name for group in spec.get("groups", {}).values() for name in group.values()}
            numbers = [f"{name} {low:g} to {high:g}" for name, low, high in ranges if name not in grouped]
            return some([f"{name} ({words})" for name, words in groups.items()] + numbers)
        case "text":
            words = f"; {len(spec['words'])} known words: {some(spec['words'])}" if spec.get("words") else ""
            return f"up to {spec['max_length']} bytes of UTF-8{words}"
        case "mask":
            return f"{height}x{width}, {spec['num_classes']} classes: {some(spec.get('names', ['0', '1', '...']))}"
        case "known":
            return f"{height}x{width}, white where pixels of the source are kept"
        case _:
            return f"{height}x{width}, {'grey' if spec['channels'] == 1 else 'colour'}"


def some(names: Sequence[object]) -> str:
    """Name the first few."""
    more = f", and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more
