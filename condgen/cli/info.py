"""`condgen info`: what a checkpoint is and takes, what it was trained on, and how it scored."""

from __future__ import annotations

from pathlib import Path
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

    from condgen.checkpoints import CheckpointError

    try:
        lines = [*told(Path(options.ckpt), trusted)]
    except (CheckpointError, ValueError, OSError) as error:
        raise UserError(str(error)) from error
    except (LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{options.ckpt} is not as condgen writes it: {error!r}") from error
    for title, text in lines:
        print(f"{title:<13}{text}")
    return 0


def told(path: Path, trusted: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Describe a checkpoint and the run that it is of, or a folder of scores, line by line."""
    from condgen.checkpoints import build_model, find_checkpoint, newest_run, read_checkpoint

    path = newest_run(path)
    if (path / "metrics.json").is_file() and not (path / "checkpoints").is_dir():
        yield from scored(path / "metrics.json")
        return
    file = find_checkpoint(path)
    content = read_checkpoint(file)
    yield "checkpoint", str(file)
    judge = judge_of(content, trusted)
    yield from about_judge(judge, content) if judge else about(build_model(content, file, trusted=trusted))
    if file.parent.name == "checkpoints":
        yield from of_run(file.parent.parent)


def of_run(run: Path) -> Iterator[tuple[str, str]]:
    """Tell what a run was trained on, and its last scores."""
    from condgen.report.runs import find_metrics
    from condgen.yaml_file import read_yaml

    if (run / "config.yaml").is_file():
        data = read_yaml(run / "config.yaml").get("data") or {}
        root = (data.get("init_args") or {}).get("root")
        yield "data", str(data.get("class_path")).rpartition(".")[2] + (f" in {root}" if root else "")
    try:
        file = find_metrics(str(run))
    except ValueError:  # it has no scores yet
        return
    yield from scored(file)


def scored(file: Path) -> Iterator[tuple[str, str]]:
    """Tell what a `metrics.json` holds."""
    from condgen.report.runs import read_metrics

    content = read_metrics(file)
    protocol = content["protocol"]
    yield "scores", ", ".join(f"{name} {row['value']:.4g}" for name, row in content["scores"].items())
    samples = f"{protocol['n_samples']:,} samples, " if protocol.get("n_samples") else ""
    yield "scored", f"{samples}{protocol.get('split')} split, in {file}"
    if not (file.parent / "checkpoints").is_dir():
        yield "of", str(protocol.get("checkpoint"))


def judge_of(content: dict[str, Any], trusted: Sequence[str]) -> type | None:
    """Return a checkpoint's class if it makes no images; null too where it can't be had, as building it will tell."""
    from condgen.models import GenerativeModel
    from condgen.models.recorded import RecordedModule
    from condgen.trust import CHECKPOINT_PACKAGES, import_class

    try:
        cls = import_class(content["condgen"]["class_path"], CHECKPOINT_PACKAGES, trusted)
    except Exception:  # a path can be wrong in any way
        return None
    return cls if issubclass(cls, RecordedModule) and not issubclass(cls, GenerativeModel) else None


def about_judge(cls: type, content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Describe a model that generates nothing, such as a classifier."""
    channels, height, width = content["hyper_parameters"]["image_shape"]
    yield "model", f"{cls.__name__}, which tells what images show, and makes none"
    yield "images", f"{height}x{width}, {'grey' if channels == 1 else 'colour'}"
    yield "trained", f"on {content['condgen']['progress'].get('images_seen', 0):,} images"


def about(model: GenerativeModel) -> Iterator[tuple[str, str]]:
    """Describe a model, line by line."""
    from condgen.models.weights_hash import weights_hash

    channels, height, width = model.image_shape
    weights = "averaged" if model.averaged else "raw"
    yield "model", f"{type(model).__name__}, {sum(p.numel() for p in model.sampling_net.parameters()):,} parameters"
    yield "images", f"{height}x{width}, {'grey' if channels == 1 else 'colour'}"
    yield "trained", f"on {model.images_seen:,} images; samples by its {weights} weights, {weights_hash(model)[:12]}…"
    card = model.sampler_card
    given = card.get("init_args", {key: value for key, value in card.items() if key not in ("chunk", "half")})
    name = str(card.get("class_path", "the model's own" if given else "one pass of the net")).rpartition(".")[2]
    settings = ", ".join(f"{key}={value}" for key, value in given.items())
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
