"""Writing and reading checkpoints, and sampling from them."""

from condgen.checkpoints.atomic import AtomicCheckpointIO
from condgen.checkpoints.drawn_images import DrawnImages
from condgen.checkpoints.load import (
    CheckpointError,
    build_model,
    find_checkpoint,
    load_model,
    newest_run,
    read_checkpoint,
    restore,
)

__all__ = [
    "AtomicCheckpointIO",
    "CheckpointError",
    "DrawnImages",
    "build_model",
    "find_checkpoint",
    "load_model",
    "newest_run",
    "read_checkpoint",
    "restore",
]
