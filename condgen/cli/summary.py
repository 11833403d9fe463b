"""What is said before the work of Lightning's verbs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from condgen.cli.lightning import CLI


def summary(cli: CLI) -> str:
    """Say what runs on what."""
    count = sum(p.numel() for p in cli.model.parameters() if p.requires_grad)
    device = cli.trainer.strategy.root_device.type
    return (
        f"{type(cli.model).__name__} with {count:,} trained parameters on {type(cli.datamodule).__name__} "
        f"{'x'.join(map(str, cli.datamodule.image_shape))}, {cli.trainer.world_size} x {device}, "
        f"precision {cli.trainer.precision}, seed {os.environ.get('PL_GLOBAL_SEED')}"
    )
