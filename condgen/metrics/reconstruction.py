"""Error of reconstructions."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from condgen.checks import describe


class ReconstructionError(Metric):
    """Mean squared error per value in squared grey levels, and the PSNR in dB of that mean, not of each image."""

    higher_is_better: bool | None = None
    full_state_update: bool | None = False
    squared_error: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("squared_error", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, image: Tensor, target: Tensor) -> None:
        """Add reconstructions and originals, (N, C, H, W) uint8 each."""
        if image.shape != target.shape or not image.dtype == target.dtype == torch.uint8:
            given = f"{describe(image)} and {describe(target)}"
            raise ValueError(f"reconstructions and originals must be uint8 of one shape, got {given}")
        self.squared_error += (image.int() - target.int()).square().sum()
        self.count += image.numel()

    def compute(self) -> dict[str, Tensor]:
        """Return `reconstruction_mse` and `reconstruction_psnr`."""
        if not self.count:
            raise ValueError("ReconstructionError has no images")
        mse = self.squared_error.double() / self.count
        return {
            "reconstruction_mse": mse,
            "reconstruction_psnr": 10.0 * torch.log10(255.0**2 / mse.clamp(min=1e-10)),
        }
