"""How near samples are to the images that belong to their conditions, where there is one right answer."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.image import structural_similarity_index_measure

from condgen.metrics.obedience import Obedience, ratio
from condgen.types import Condition

MIDDLE = 127
"""Stored pixels above it are bright."""


class PairedError(Obedience):
    """`psnr` in dB, mean over samples, `ssim` (Wang et al. 2004) and the mean absolute error `l1` in grey levels.

    PSNR of a sample is 10 log10 (255^2 / MSE), at most 100 dB for one that is exact.
    """

    better: ClassVar[dict[str, str]] = {"psnr": "higher", "ssim": "higher", "l1": "lower"}
    needs_target = True

    def measure(self, image: Tensor, cond: Condition, target: Tensor | None) -> Tensor:
        """Return the three values of each sample, and 1."""
        assert target is not None
        x, y = image.float(), target.to(image.device).float()
        mse = (x - y).square().flatten(1).mean(dim=1)
        psnr = (10 * torch.log10(255.0**2 / mse)).clamp(max=100.0)
        ssim = structural_similarity_index_measure(x, y, data_range=255.0, reduction="none")
        assert isinstance(ssim, Tensor)
        l1 = (x - y).abs().flatten(1).mean(dim=1)
        return torch.stack([psnr, ssim.to(psnr), l1, torch.ones_like(l1)], dim=1)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Return the means."""
        return {name: ratio(total[:, place], total[:, 3]) for place, name in enumerate(self.better)}


class EdgeAgreement(Obedience):
    """`edge_f1`: edges asked for as `source` (bright lines) against those of the sample, within a pixel.

    An edge of the sample is a pixel whose Sobel gradient, over colours the largest, is above `threshold`.

    Args:
        threshold: In grey levels per pixel.
        tolerance: Pixels by which edges may be off.
    """

    better: ClassVar[dict[str, str]] = {"edge_f1": "higher"}
    keys: ClassVar[tuple[str, ...]] = ("source",)

    def __init__(self, threshold: float = 32.0, tolerance: int = 1) -> None:
        super().__init__()
        if threshold <= 0 or tolerance < 0:
            raise ValueError(f"edges need a threshold > 0 and a tolerance >= 0, got {threshold} and {tolerance}")
        self.threshold = threshold
        self.tolerance = tolerance

    @property
    def settings(self) -> dict[str, float]:
        """Threshold and tolerance."""
        return {"edge_threshold": self.threshold, "edge_tolerance": self.tolerance}

    def measure(self, image: Tensor, cond: Condition, target: Tensor | None) -> Tensor:
        """Return matched and all pixels of edges, of the sample and of what was asked."""
        found = sobel(image.float()) > self.threshold
        due = cond["source"].to(image.device).amax(dim=1) > MIDDLE
        near = [self._grown(edges) for edges in (due, found)]
        counts = [found & near[0], found, due & near[1], due]
        return torch.stack([pixels.sum(dim=(1, 2)) for pixels in counts], dim=1)

    def _grown(self, edges: Tensor) -> Tensor:
        size = 2 * self.tolerance + 1
        return F.max_pool2d(edges.float().unsqueeze(1), size, stride=1, padding=self.tolerance).squeeze(1) > 0

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Return the harmonic mean of precision and recall."""
        precision, recall = ratio(total[:, 0], total[:, 1]), ratio(total[:, 2], total[:, 3])
        return {"edge_f1": ratio(2 * precision * recall, precision + recall).nan_to_num(0.0)}


def sobel(image: Tensor) -> Tensor:
    """Return the largest gradient over the channels of images (N, C, H, W), (N, H, W), in levels per pixel."""
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=image.device) / 8
    kernels = torch.stack([kernel, kernel.T]).unsqueeze(1)
    flat = F.pad(image, (1, 1, 1, 1), mode="replicate").flatten(0, 1).unsqueeze(1)
    gradient = F.conv2d(flat, kernels).square().sum(dim=1).sqrt()
    largest: Tensor = gradient.unflatten(0, image.shape[:2]).amax(dim=1)
    return largest
