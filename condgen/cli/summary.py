"""What a run says of itself when it begins."""

from __future__ import annotations

import os

from lightning.pytorch.cli import LightningCLI


def summary(cli: LightningCLI, chosen: str | None = None) -> str:
    """Say what runs on what.

    Args:
        cli: With its model, data and trainer.
        chosen: Why the precision is as it is, if it was not given.
    """
    count = sum(p.numel() for p in cli.model.parameters() if p.requires_grad)
    device = cli.trainer.strategy.root_device.type
    why = f" ({chosen})" if chosen else ""
    return (
        f"{type(cli.model).__name__} with {count:,} trained parameters on {type(cli.datamodule).__name__} "
        f"{'x'.join(map(str, cli.datamodule.image_shape))}, {cli.trainer.world_size} x {device}, "
        f"precision {cli.trainer.precision}{why}, seed {os.environ.get('PL_GLOBAL_SEED')}"
    )
