"""The `config.yaml` in a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from condgen.callbacks import run_folder
from condgen.whole import whole_file

ORIGIN = "checkpoint: "
UNSAVED = ("resume", "allow_changes", "rollback")
"""Options of one call, which are no part of the run."""


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml`, whole or not at all.

    The checkpoint that the run began from stands in a comment on top, for it is no part of what repeats the run; and it
    stays there when the run is resumed.

    Args:
        parser: The verb's parser.
        config: The whole config.
    """

    def __init__(self, parser: LightningArgumentParser, config: Namespace, **kwargs: Any) -> None:
        config = config.clone()
        self.origin = None if config.get("resume") else config.ckpt_path
        config.ckpt_path = None
        for name in UNSAVED:
            config.pop(name, None)
        super().__init__(parser, config, save_to_log_dir=False, **kwargs)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Find the run's folder, which all processes do together, before the first one writes."""
        self.path = run_folder(trainer) / "config.yaml"
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write the file."""
        origin = origin_of(self.path) if self.origin is None else str(self.origin)
        header = self.parser.dump_header or []
        self.parser.dump_header = [*header, f"{ORIGIN}{origin}"] if origin else header
        with whole_file(self.path) as file:
            file.write(self.parser.dump(self.config, skip_unset=False).encode())


def origin_of(path: Path) -> str:
    """Return the checkpoint that a run began from, as its config's comment says; nothing if it began from none."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.partition(ORIGIN)[2] for line in lines if line.startswith(f"# {ORIGIN}")), "")
