"""Where a run writes."""

from __future__ import annotations

from pathlib import Path

import lightning as L


def run_folder(trainer: L.Trainer) -> Path:
    """Return the run's folder: that of its first logger, else the trainer's root; call it on every process."""
    return Path(trainer.log_dir or trainer.default_root_dir)
