"""What a run is trained with, on which its last digits depend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch


def stack(trainer: L.Trainer) -> dict[str, Any]:
    """Return the number of processes, the device, threads, and torch's version, in plain values."""
    device = trainer.strategy.root_device
    return {
        "processes": trainer.world_size,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say what of it is another than before; nothing if all is the same."""
    return ", ".join(f"{name} {before[name]} became {now[name]}" for name in before if before[name] != now.get(name))
