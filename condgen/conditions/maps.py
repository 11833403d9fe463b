"""Conditions that are maps of the image's height and width: pictures to translate, masks, pictures with holes."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.conditions.base import ConditionEncoder, choose_null
from condgen.types import CondDims, Condition, CondSpec, Encoded


class MapEncoder(ConditionEncoder):
    """Something of the image's height and width -> spatial map; the null condition is the map of zeros.

    A subclass defines `channels` and `map`, whose maps must never be all zeros where that would mean another thing.
    """

    def __init__(self, cond_spec: CondSpec) -> None:
        super().__init__(cond_spec)
        self.dims = CondDims(spatial=self.channels(cond_spec))

    def encode(self, cond: Condition, drop: Tensor | None) -> Encoded:
        """Make the maps."""
        spatial = self.map(cond)
        return Encoded(spatial=choose_null(drop, torch.zeros_like(spatial[0]), spatial))

    @abstractmethod
    def channels(self, cond_spec: CondSpec) -> int:
        """Return the channels of the maps."""

    @abstractmethod
    def map(self, cond: Condition) -> Tensor:
        """Make maps (N, channels, H, W)."""


class SourceEncoder(MapEncoder):
    """Picture to translate -> its pixels, and a channel of ones that tells a grey picture from none."""

    keys = ("source",)

    def channels(self, cond_spec: CondSpec) -> int:
        """Return one more than the picture has."""
        return int(cond_spec["source"]["channels"]) + 1

    def map(self, cond: Condition) -> Tensor:
        """Take `cond["source"]`, (N, C, H, W) in [-1, 1], of the image's size."""
        return with_ones(cond["source"])


class LowResEncoder(MapEncoder):
    """Small picture -> its pixels, enlarged bilinearly to the image's size, and a channel of ones as of `source`."""

    keys = ("low_res",)

    def __init__(self, cond_spec: CondSpec) -> None:
        super().__init__(cond_spec)
        self.factor = int(cond_spec["low_res"]["factor"])

    def channels(self, cond_spec: CondSpec) -> int:
        """Return one more than the picture has."""
        return int(cond_spec["low_res"]["channels"]) + 1

    def map(self, cond: Condition) -> Tensor:
        """Enlarge `cond["low_res"]`, (N, C, h, w) in [-1, 1], by the data's factor."""
        return with_ones(F.interpolate(cond["low_res"], scale_factor=float(self.factor), mode="bilinear"))


class MaskEncoder(MapEncoder):
    """Class of each pixel -> a map of zeros and ones for each class."""

    keys = ("mask",)

    def channels(self, cond_spec: CondSpec) -> int:
        """Return the number of classes."""
        return int(cond_spec["mask"]["num_classes"])

    def map(self, cond: Condition) -> Tensor:
        """Take `cond["mask"]`, (N, H, W) int64, of the image's size."""
        hot = F.one_hot(cond["mask"].long(), self.dims.spatial).movedim(3, 1)
        return hot.to(torch.get_default_dtype())


class InpaintingEncoder(MapEncoder):
    """Picture with holes -> its known pixels, zeros elsewhere, and the map of what is known.

    What is not known of `source` is never seen. The null condition is a picture of which nothing is known.
    """

    keys = ("source", "known")

    def channels(self, cond_spec: CondSpec) -> int:
        """Return one more than the picture has."""
        return int(cond_spec["source"]["channels"]) + 1

    def map(self, cond: Condition) -> Tensor:
        """Take `cond["source"]`, (N, C, H, W) in [-1, 1], where `cond["known"]`, (N, 1, H, W), is 1."""
        known = cond["known"]
        return torch.cat([torch.where(known > 0, cond["source"], 0.0), known.to(cond["source"].dtype)], dim=1)


def with_ones(picture: Tensor) -> Tensor:
    """Add a channel of ones to (N, C, H, W)."""
    return torch.cat([picture, torch.ones_like(picture[:, :1])], dim=1)
