"""How scores are shown and kept: one `metrics.json` in a run's folder, to which each callback adds its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.table import Table

from condgen import __version__
from condgen.models import GenerativeModel
from condgen.models.weights_hash import weights_hash
from condgen.seeding import run_seed
from condgen.whole import whole_file


def score_table(rows: dict[str, Any], title: str) -> Table:
    """Lay rows out: values, and intervals, values of real images and units where there are any."""
    cells = {
        "95% interval": {name: f"{row['low']:.4f} to {row['high']:.4f}" for name, row in rows.items() if "low" in row},
        "real images": {name: plus_minus(row["floor"]) for name, row in rows.items() if "floor" in row},
        "unit": {name: row["unit"] for name, row in rows.items() if "unit" in row},
    }
    shown = {heading: column for heading, column in cells.items() if column}
    table = Table(title=title)
    for heading in ("score", "value", *shown, "good is"):
        if heading == "score":
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for name, row in rows.items():
        further = [column.get(name, "") for column in shown.values()]
        table.add_row(name, f"{row['value']:.4f}", *further, row["better"])
    return table


def plus_minus(floor: dict[str, float]) -> str:
    """Write a mean, and its standard deviation where there are several draws."""
    spread = f" ± {floor['sd']:.4f}" if floor["draws"] > 1 else ""
    return f"{floor['mean']:.4f}{spread}"


def shared_protocol(trainer: L.Trainer, model: GenerativeModel, split: str) -> dict[str, Any]:
    """Say what was scored, on what, by which software: the same for all callbacks of one evaluation."""
    return {
        "data": type(getattr(trainer, "datamodule", None)).__name__,
        "split": split,
        "model": type(model).__name__,
        "ema": model.averaged,
        "sampler": model.sampler_card,
        "checkpoint": model.loaded_from if trainer.ckpt_path is None else str(trainer.ckpt_path),
        "weights_sha256": weights_hash(model),
        "run_seed": run_seed(),
        "images_seen": model.images_seen,
        "processes": trainer.world_size,
        "device": model.device.type,
        "threads": torch.get_num_threads(),
        "condgen": __version__,
        "torch": torch.__version__,
    }


def add_to_report(folder: Path, result: dict[str, Any], shared: dict[str, Any]) -> Path:
    """Add scores and their protocol to the folder's `metrics.json`, written whole or not at all.

    Args:
        folder: The run's folder, made if needed.
        result: Dicts such as `scores`, a row for each, and `protocol`, and the list `warnings`; of two equal names the
            newer stays.
        shared: What the evaluation has in common; rows in the file that were made by another one are dropped.
    """
    path = folder / "metrics.json"
    kept: dict[str, Any] = {}
    if path.is_file():
        before = json.loads(path.read_text())
        if all(before["protocol"].get(key) == value for key, value in shared.items()):
            kept = before
    merged = kept | {part: merge(kept.get(part), value) for part, value in result.items()}
    with whole_file(path) as file:
        file.write(f"{json.dumps(merged, indent=2)}\n".encode())
    return path


def merge(before: Any, new: Any) -> Any:
    """Add what is new to a dict or a list."""
    if isinstance(new, dict):
        return {**(before or {}), **new}
    return list(dict.fromkeys([*(before or []), *new]))
