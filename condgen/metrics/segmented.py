"""Samples as a segmenter sees them, which was trained on real images: their masks, and their likeness to real ones."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.checks import check_mask
from condgen.masks import common_and_joint, mean_iou, pixel_accuracy
from condgen.metrics.by_net import ByNet
from condgen.metrics.obedience import ratio
from condgen.nets import SegmentationUNet
from condgen.types import Condition


class BySegmenter(ByNet[SegmentationUNet]):
    """Looks at samples through a segmenter."""

    kind = SegmentationUNet
    what = "segmenter"


class SegmentedMask(BySegmenter):
    """Compares the mask asked for with the one that the segmenter finds in each sample.

    `pixel_accuracy` is the share of all pixels whose class agrees, `mean_iou` the mean over classes of the intersection
    over union (the FCN score of Isola et al. 2017, Sec. 4.1). A real image scores as well as the segmenter does.

    Args:
        weights: The segmenter's file.
    """

    better: ClassVar[dict[str, str]] = {"pixel_accuracy": "higher", "mean_iou": "higher"}
    keys: ClassVar[tuple[str, ...]] = ("mask",)

    @torch.no_grad()
    def measure(self, image: Tensor, cond: Condition, target: Tensor | None) -> Tensor:
        """Return common and joint pixels of each class."""
        num_classes = self.net.num_classes
        check_mask(cond["mask"], num_classes)
        found = torch.cat([self.net(part).argmax(dim=1) for part in self.shown(image)])
        return common_and_joint(found, cond["mask"].to(found.device), num_classes)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Return the accuracy, and the mean over the classes that occur."""
        return {"pixel_accuracy": pixel_accuracy(total), "mean_iou": mean_iou(total)}


class PerceptualDistance(BySegmenter):
    """`perceptual_distance`: how unlike a sample looks to the image that belongs to its condition.

    It is the distance of Zhang et al. 2018 (Eq. 1) in the segmenter's features, all channels weighing 1: at each
    resolution, the squared difference of the features, each place scaled to length 1, averaged over places; their sum.
    It is not LPIPS, whose features are others, and comparable by one segmenter alone.

    Args:
        weights: The segmenter's file.
    """

    better: ClassVar[dict[str, str]] = {"perceptual_distance": "lower"}
    needs_target = True

    @torch.no_grad()
    def measure(self, image: Tensor, cond: Condition, target: Tensor | None) -> Tensor:
        """Return the distance of each sample, and 1."""
        assert target is not None
        pairs = zip(self.shown(image), self.shown(target), strict=True)
        distance = torch.cat([unlikeness(self.net.features(x), self.net.features(y)) for x, y in pairs])
        return torch.stack([distance, torch.ones_like(distance)], dim=1)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Return the mean."""
        return {"perceptual_distance": ratio(total[:, 0], total[:, 1])}


def unlikeness(x: list[Tensor], y: list[Tensor]) -> Tensor:
    """Return the distance (N,) between the features (N, C, H, W) of two sets of images at each resolution."""
    apart = [(F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(dim=1) for a, b in zip(x, y, strict=True)]
    return torch.stack([each.mean(dim=(1, 2)) for each in apart]).sum(dim=0)
