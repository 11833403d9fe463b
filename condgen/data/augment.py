"""Augmentations of a batch on its device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import isfinite, pi

import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.pixels import sent


class Augmentation(ABC):
    """Changes training images (N, C, H, W) in [-1, 1], each in its own way."""

    @abstractmethod
    def __call__(self, image: Tensor, source: torch.Generator) -> Tensor:
        """Return changed images; `source` is a CPU generator."""


@dataclass(frozen=True)
class RandomAffine(Augmentation):
    """Rotates, shifts and scales about the centre; what comes in from outside is -1 (black).

    Args:
        degrees: Largest rotation to either side.
        translate: Largest shift, as a fraction of the side.
        scale: Largest change of size, as a fraction.
    """

    degrees: float = 10.0
    translate: float = 0.1
    scale: float = 0.1

    def __call__(self, image: Tensor, source: torch.Generator) -> Tensor:
        """Resample bilinearly."""
        angle, dx, dy, size = torch.empty(4, len(image)).uniform_(-1.0, 1.0, generator=source)
        angle, size = angle * self.degrees * pi / 180.0, 1.0 + size * self.scale
        cos, sin = size * angle.cos(), size * angle.sin()
        rows = [cos, -sin, 2 * self.translate * dx, sin, cos, 2 * self.translate * dy]
        theta = sent(torch.stack(rows, dim=1).view(-1, 2, 3), image.device)
        lattice = F.affine_grid(theta, list(image.shape), align_corners=False)
        return F.grid_sample(image + 1.0, lattice, align_corners=False) - 1.0


@dataclass(frozen=True)
class RandomFlip(Augmentation):
    """Mirrors left and right.

    Args:
        probability: Share of the images that are mirrored.
    """

    probability: float = 0.5

    def __call__(self, image: Tensor, source: torch.Generator) -> Tensor:
        """Mirror a random choice of images."""
        chosen = sent(torch.rand(len(image), generator=source) < self.probability, image.device)
        return torch.where(chosen.view(-1, 1, 1, 1), image.flip(3), image)


@dataclass(frozen=True)
class RandomCrop(Augmentation):
    """Enlarges bilinearly and cuts the image's size out at a random place, where maps of any resolution agree.

    Args:
        zoom: Factor of both sides, at least 1; the default is that of pix2pix (Isola et al. 2017, Sec. 6.2).
    """

    zoom: float = 286 / 256

    def __post_init__(self) -> None:
        if not (isfinite(self.zoom) and self.zoom >= 1):
            raise ValueError(f"RandomCrop needs a finite zoom >= 1, got {self.zoom}")

    def __call__(self, image: Tensor, source: torch.Generator) -> Tensor:
        """Resample bilinearly, once."""
        shown = 1.0 / self.zoom
        dx, dy = torch.empty(2, len(image)).uniform_(shown - 1.0, 1.0 - shown, generator=source)
        none = torch.zeros_like(dx)
        rows = [none + shown, none, dx, none, none + shown, dy]
        theta = sent(torch.stack(rows, dim=1).view(-1, 2, 3), image.device)
        lattice = F.affine_grid(theta, list(image.shape), align_corners=False)
        return F.grid_sample(image, lattice, padding_mode="border", align_corners=False).clamp(-1.0, 1.0)


@dataclass(frozen=True)
class InTurn(Augmentation):
    """Applies one augmentation after the other."""

    first: Augmentation
    second: Augmentation

    def __call__(self, image: Tensor, source: torch.Generator) -> Tensor:
        """Change what the first has changed."""
        return self.second(self.first(image, source), source)
