"""What is in the files of an offline run of W&B, by its own definitions of what it keeps."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK = 32768
"""Bytes of a block of the log; records that do not fit go on in the next (LevelDB's log format)."""
PREFIX = b":W&B"


def payloads(path: Path) -> Iterator[bytes]:
    """Yield the records of a `.wandb` file, as bytes."""
    content, place, kept = path.read_bytes(), 7, b""
    assert content.startswith(PREFIX)
    while place + 7 <= len(content):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        kept += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or a last part
            yield kept
            kept = b""


def updated(into: dict[str, Any], items: Any) -> None:
    """Apply changes of a config, a summary or a row of the history."""
    for item in items:
        *outer, last = list(item.nested_key) or [item.key]
        inner = into
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(item.value_json)


def read_offline_run(folder: Path) -> SimpleNamespace:
    """Return `run`, `config`, `history`, `summary`, `metrics`, `artifacts` and the folder `files`."""
    (path,) = folder.glob("run-*.wandb")
    found = SimpleNamespace(
        run=None, config={}, history=[], summary={}, metrics={}, artifacts=[], files=folder / "files"
    )
    for payload in payloads(path):
        record = wandb_internal_pb2.Record.FromString(payload)
        match record.WhichOneof("record_type"):
            case "run":
                found.run = record.run
                updated(found.config, record.run.config.update)
            case "config":
                updated(found.config, record.config.update)
            case "history":
                found.history.append({})
                updated(found.history[-1], record.history.item)
            case "summary":
                updated(found.summary, record.summary.update)
            case "metric":
                found.metrics[record.metric.glob_name or record.metric.name] = record.metric.step_metric
            case "artifact":
                found.artifacts.append(record.artifact)
            case "request" if record.request.HasField("log_artifact"):
                found.artifacts.append(record.request.log_artifact.artifact)
    return found
