"""Training numbers that make sense."""

from __future__ import annotations


def check_numbers(steps: int, accumulate: int, clip: float | None, **weights: float) -> None:
    """Refuse training numbers that make no sense, naming the argument; `weights` are those of parts of a loss."""
    if steps < 1:
        raise ValueError(f"discriminator_steps must be at least 1, got {steps}")
    if accumulate < 1:
        raise ValueError(f"accumulate_grad_batches must be at least 1, got {accumulate}")
    if clip is not None and clip <= 0:
        raise ValueError(f"gradient_clip_val must be above 0, or null for no clipping, got {clip}")
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f"{name} must be at least 0, got {weight}")
    if not any(weights.values()):
        raise ValueError(f"{', '.join(weights)} are all 0: there is nothing to learn by")
