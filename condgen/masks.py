"""How far two masks agree: counts of pixels by class, and scores that are functions of their sums."""

from __future__ import annotations

import torch
from torch import Tensor


def common_and_joint(found: Tensor, due: Tensor, num_classes: int) -> Tensor:
    """Count pixels of each class in both and in either of two masks (N, H, W): (N, 2 K) int64."""
    pairs = [(found == k, due == k) for k in range(num_classes)]
    common = torch.stack([(a & b).sum(dim=(1, 2)) for a, b in pairs], dim=1)
    joint = torch.stack([(a | b).sum(dim=(1, 2)) for a, b in pairs], dim=1)
    return torch.cat([common, joint], dim=1)


def pixel_accuracy(total: Tensor) -> Tensor:
    """Return the share (R,) of the pixels whose class agrees, by sums (R, 2 K) of counts.

    Common and joint pixels together are those of the one mask and those of the other: twice the number of all.
    """
    common, joint = total.double().chunk(2, dim=1)
    return 2 * common.sum(dim=1) / (common + joint).sum(dim=1)


def mean_iou(total: Tensor) -> Tensor:
    """Return the mean (R,) over the classes that occur of common over joint pixels, by sums (R, 2 K) of counts."""
    common, joint = total.double().chunk(2, dim=1)
    return (common / joint).nanmean(dim=1)
