"""Cross-entropy over classes that are not equally frequent, and over words that a caption has or lacks."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def balanced_cross_entropy(logits: Tensor, due: Tensor, balance: float) -> Tensor:
    """Return the mean cross-entropy, each item weighted by its class's share of the batch to the power of -balance.

    Args:
        logits: (N, K, ...), of images or of their pixels.
        due: Classes, (N, ...) int64.
        balance: 0 weighs all items alike, so that frequent classes count most; 1 all classes that the batch shows.
    """
    share = due.flatten().bincount(minlength=logits.shape[1]).float() / due.numel()
    return F.cross_entropy(logits.float(), due, weight=share.clamp(min=1.0 / due.numel()).pow(-balance))


def tag_cross_entropy(logits: Tensor, due: Tensor) -> Tensor:
    """Return for each item the sum (N,) over K tags, 0 or 1 each (N, K), of the binary cross-entropy in nats."""
    return F.binary_cross_entropy_with_logits(logits.float(), due, reduction="none").sum(dim=1)
