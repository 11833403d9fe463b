"""Reading checkpoints."""

from condgen.checkpoints.load import CheckpointError, find_checkpoint, load_model, read_checkpoint

__all__ = ["CheckpointError", "find_checkpoint", "load_model", "read_checkpoint"]
