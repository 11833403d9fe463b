"""A model's card: what it is, how to use it, what it scored and by which protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from condgen.report.protocol import flatten, show
from condgen.report.runs import Run, make_run, read_metrics
from condgen.report.tables import REAL_IMAGES, escaped, score_rows, to_markdown

PICTURE = "samples.png"
PRIVATE = frozenset({"checkpoint", "seconds", "threads", "processes", "device"})
"""Fields of a protocol that say nothing of the model, or where on somebody's disk it was."""
TASKS = {"text": "text-to-image", "source": "image-to-image", "low_res": "image-to-image", "mask": "image-to-image"}
"""What the hub calls a model that takes such a condition."""


def training_run(checkpoint: Path) -> Path | None:
    """Return the folder of the run that a checkpoint file is of; null where it lies alone."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else None


def scored_run(run: Path | None, weights_sha256: str) -> Run | None:
    """Find the latest scores of these very weights, on the test split if there are any."""
    found: list[tuple[bool, str, dict[str, Any], Path]] = []
    for file in sorted(run.resolve().parent.glob("*/metrics.json")) if run is not None else []:
        try:
            content = read_metrics(file)
        except ValueError:
            continue
        if content["protocol"].get("weights_sha256") == weights_sha256:
            found.append((content["protocol"].get("split") == "test", file.parent.name, content, file))
    if not found:
        return None
    *_, content, file = max(found, key=lambda item: item[:2])
    return make_run(str(file), "value", file, None, content)


def last_grid(run: Path | None) -> bytes | None:
    """Return the last grid of samples that a run stored."""
    stored = sorted((run / "samples").glob("images-*.png")) if run is not None else []
    return stored[-1].read_bytes() if stored else None


def model_card(
    kind: str, facts: Sequence[tuple[str, str]], conditions: Sequence[str], run: Run | None, *, pictured: bool
) -> str:
    """Write the card in Markdown, with the head that a hub reads.

    Args:
        kind: The model's class.
        facts: What is known of it, title and text.
        conditions: What it is asked for.
        run: What it scored; null where it was not.
        pictured: Whether `PICTURE` lies beside the card.
    """
    data = run.protocol.get("data") if run is not None else None
    task = next((TASKS[key] for key in conditions if key in TASKS), None)
    lines = [
        "---",
        "library_name: condgen",
        *([f"pipeline_tag: {task}"] if task else []),
        "tags:",
        *(f"- {tag}" for tag in ("condgen", "image-generation", kind.lower())),
        "---",
        "",
        f"# {kind}" + (f" on {data}" if data else ""),
        "",
        *([f"![Samples]({PICTURE})", ""] if pictured else []),
        "| what | |",
        "| --- | --- |",
        *(f"| {escaped(title)} | {escaped(text)} |" for title, text in facts),
        "",
        *usage(),
        *(scores(run) if run is not None else ["No scores: these weights were not tested where they were exported."]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def usage() -> list[str]:
    """Say how to use a folder with a model; what is loaded is data, and runs nothing."""
    return [
        "## Use",
        "",
        "```",
        "condgen info FOLDER",
        "condgen sample --ckpt FOLDER --out samples.png",
        "```",
        "",
        "```python",
        "from condgen.checkpoints import load_model",
        "",
        'model = load_model("FOLDER")',
        "```",
        "",
    ]


def scores(run: Run) -> Iterator[str]:
    """Show scores with their intervals, warnings, and how they were measured."""
    yield from ("## Scores", "", to_markdown("score", ["value", REAL_IMAGES], score_rows([run], alike=False)))
    yield from (f"- {escaped(line)}" for line in run.warnings)
    yield from ("", "## Protocol", "", "| field | value |", "| --- | --- |")
    yield from (f"| {escaped(field)} | {escaped(show(value))} |" for field, value in public(run.protocol))


def public(protocol: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a protocol that others can make use of."""
    return ((field, value) for field, value in flatten(protocol) if field.partition(".")[0] not in PRIVATE)
