"""Folders of runs: where their scores, checkpoints and logs are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

STAMP = re.compile(r"\d{8}-\d{6}")


class ScoreRow(NamedTuple):
    """A score as `metrics.json` has it: ends of the 95% interval, and the mean score of real images."""

    value: float
    better: str
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    floor_sd: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Run:
    """What one run left behind.

    given: As the user called it.
    name: Short, and unlike those of the other runs.
    folder: Where its `metrics.json` is.
    trained: The folder of its training, with the log; null where it is not here.
    checkpoint: The file that was scored; null where it is not here.
    """

    given: str
    name: str
    folder: Path
    trained: Path | None
    checkpoint: Path | None
    scores: dict[str, ScoreRow]
    per_class: dict[str, list[Any]]
    warnings: list[str]
    cost: dict[str, Any]
    protocol: dict[str, Any]


def read_runs(given: Sequence[str]) -> list[Run]:
    """Read runs by their folders, by `runs/<name>` for the latest one, or by their `metrics.json`.

    Raises:
        ValueError: If there are fewer than two, one was named twice, or one has no scores, saying what to do.
    """
    if len(given) < 2:
        raise ValueError(f"compare needs at least two runs, got {len(given)}")
    files = [find_metrics(item) for item in given]
    for i, file in enumerate(files):
        if file.resolve() in [other.resolve() for other in files[:i]]:
            raise ValueError(f"{given[i]} is compared with itself: both are {file}")
    contents = [read_metrics(file) for file in files]
    trained = [training_folder(*pair) for pair in zip(files, contents, strict=True)]
    names = short_names([folder or file.parent for folder, file in zip(trained, files, strict=True)])
    return [make_run(*parts) for parts in zip(given, names, files, trained, contents, strict=True)]


def make_run(given: str, name: str, file: Path, trained: Path | None, content: dict[str, Any]) -> Run:
    """Put a run together."""
    try:
        scores = {key: score_row(row) for key, row in content["scores"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file} is not a result of condgen: a score has no value, or no better") from error
    return Run(
        given=given,
        name=name,
        folder=file.parent,
        trained=trained,
        checkpoint=scored_checkpoint(trained, content["protocol"].get("checkpoint")),
        scores=scores,
        per_class=content.get("per_class") or {},
        warnings=content.get("warnings") or [],
        cost=content.get("cost") or {},
        protocol=content["protocol"],
    )


def score_row(row: dict[str, Any]) -> ScoreRow:
    """Read one score."""
    floor = row.get("floor") or {}
    low, high = row.get("low"), row.get("high")
    return ScoreRow(
        float(row["value"]), row["better"], low, high, floor.get("mean"), floor.get("sd"), row.get("unit", "")
    )


# ---------------------------------------------------------------------- files


def find_metrics(given: str) -> Path:
    """Find the `metrics.json` of a run."""
    path = Path(given)
    if path.is_file():
        return path
    if (path / "metrics.json").is_file():
        return path / "metrics.json"
    if (path / "config.yaml").is_file():
        scored = evaluations(path)
        if scored:
            return scored[-1]
        raise ValueError(f"{given} has no metrics.json; score it first: condgen test {path}")
    folders = sorted(path.iterdir()) if path.is_dir() else []
    for wanted in ("checkpoints", "metrics.json"):
        found = [folder for folder in folders if (folder / wanted).exists()]
        if found:
            return find_metrics(str(found[-1]))
    raise ValueError(f"no run {given}: give a run's folder, or a metrics.json")


def evaluations(run: Path) -> list[Path]:
    """List the `metrics.json` beside a run that are of its checkpoints, the latest on the test split last."""
    found = []
    for file in sorted(run.parent.glob("*/metrics.json")):
        protocol = read_metrics(file)["protocol"]
        if run.name in Path(protocol.get("checkpoint") or "").parts:
            found.append((protocol.get("split") == "test", file))
    return [file for _, file in sorted(found)]


def read_metrics(file: Path) -> dict[str, Any]:
    """Read a `metrics.json`.

    Raises:
        ValueError: If it is not one.
    """
    try:
        content = json.loads(file.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}") from error
    parts = [content.get(part) for part in ("scores", "protocol")] if isinstance(content, dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError(f"{file} is not a result of condgen: it has no scores, or no protocol")
    return dict(content)


def training_folder(file: Path, content: dict[str, Any]) -> Path | None:
    """Find the run that was scored: where its checkpoint was, beside the scores if both moved, or the same folder."""
    checkpoint = content["protocol"].get("checkpoint")
    candidates = [file.parent]
    if checkpoint and Path(checkpoint).parent.name == "checkpoints":
        folder = Path(checkpoint).parents[1]
        candidates = [folder, file.parent.parent / folder.name, file.parent]
    return next((folder for folder in candidates if (folder / "checkpoints").is_dir()), None)


def scored_checkpoint(trained: Path | None, checkpoint: str | None) -> Path | None:
    """Find the checkpoint that was scored; the last one where training and test were one run."""
    candidates = [Path(checkpoint)] if checkpoint else []
    if trained is not None:
        candidates.append(trained / "checkpoints" / (Path(checkpoint).name if checkpoint else "last.ckpt"))
    return next((file for file in candidates if file.is_file()), None)


def short_names(folders: Sequence[Path]) -> list[str]:
    """Name runs as shortly as they can be told apart: `cgan`, else `cgan/20260131-120000`, else by their paths."""

    def name(folder: Path) -> str:
        return folder.parent.name if STAMP.match(folder.name) and folder.parent.name else folder.name

    ways: list[Callable[[Path], str]] = [name, lambda folder: f"{folder.parent.name}/{folder.name}", str]
    for way in ways:
        names = [way(folder) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(names, start=1)]
