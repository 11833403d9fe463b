"""How scores are shown and kept: one `metrics.json` in a run's folder, to which each callback adds its rows."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.table import Table

from condgen import __version__
from condgen.models import GenerativeModel
from condgen.seeding import run_seed


def score_table(scores: dict[str, Any], title: str) -> Table:
    """Lay out scores, their values for training images, and what is good in which unit, where there are any."""
    table = Table(title=title)
    columns = {"training_images": "training images", "unit": "unit"}
    shown = [key for key in columns if any(key in row for row in scores.values())]
    for heading in ("score", "value", *(columns[key] for key in shown), "good is"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    for name, row in scores.items():
        cells = [row.get(key, "") for key in shown]
        further = [f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells]
        table.add_row(name, f"{row['value']:.4f}", *further, row["better"])
    return table


def shared_protocol(trainer: L.Trainer, model: GenerativeModel, split: str) -> dict[str, Any]:
    """Say what was scored, on what, by which software: the same for all callbacks of one evaluation."""
    return {
        "data": type(getattr(trainer, "datamodule", None)).__name__,
        "split": split,
        "model": type(model).__name__,
        "ema": model.averaged,
        "sampler": model.sampler_card,
        "checkpoint": None if trainer.ckpt_path is None else str(trainer.ckpt_path),
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
        result: `scores`, a row for each, and `protocol`; of two equal names the newer stays.
        shared: What the evaluation has in common; rows in the file that were made by another one are dropped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.json"
    kept: dict[str, Any] = {"scores": {}, "protocol": {}}
    if path.is_file():
        before = json.loads(path.read_text())
        if all(before["protocol"].get(key) == value for key, value in shared.items()):
            kept = before
    merged = {part: kept[part] | result[part] for part in ("scores", "protocol")}
    merged["protocol"] |= shared
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(merged, indent=2) + "\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def weights_hash(model: GenerativeModel) -> str:
    """Hash names and values of the weights that sample."""
    digest = sha256()
    for name, value in model.sampling_net.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
