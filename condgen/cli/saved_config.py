"""The config that a run keeps."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` without the checkpoint that the run began from, which stands in a comment on top."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace, **kwargs: Any) -> None:
        config = config.clone()
        if config.get("ckpt_path"):
            parser.dump_header = [*(parser.dump_header or []), f"checkpoint: {config.ckpt_path}"]
            config.ckpt_path = None
        super().__init__(parser, config, **kwargs)
