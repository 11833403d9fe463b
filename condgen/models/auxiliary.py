"""Auxiliary classifiers, which tell a generator whether its images show what it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from condgen.conditions.attributes import ScaledAttributes
from condgen.nets import ConvClassifier, Judgement, SegmentationUNet
from condgen.types import Condition, CondSpec, Shape

WIDTHS = (16, 32, 64)
"""Channels at each resolution of a net that tells what a discriminator's features are not asked for."""


class Auxiliary(Protocol):
    """What an auxiliary classifier offers."""

    learns_from_samples: ClassVar[bool]
    """Whether it is trained on generated images too, as showing what was asked for."""

    def loss(self, image: Tensor, judgement: Judgement, cond: Condition) -> Tensor:
        """Return how far () images (N, C, H, W) in [-1, 1] are from showing what they were to show."""
        ...


class LabelAuxiliary(nn.Linear):
    """Tells the label by the discriminator's features (Odena et al. 2017, Eq. 3)."""

    learns_from_samples: ClassVar[bool] = True

    def loss(self, image: Tensor, judgement: Judgement, cond: Condition) -> Tensor:
        """Return the mean cross-entropy () of the labels."""
        return F.cross_entropy(self(judgement.features), cond["label"])


class AttributesAuxiliary(nn.Module):
    """Tells attributes by a net of its own, as the codes of InfoGAN (Chen et al. 2016, Sec. 6) are told.

    A group of flags, of which one is 1, by the cross-entropy; any other attribute, scaled to [-1, 1], as the mean of a
    Gaussian of variance 1. It learns from real images alone, so what it takes for an attribute is what those show.
    """

    learns_from_samples: ClassVar[bool] = False

    def __init__(self, shape: Shape, cond_spec: CondSpec) -> None:
        super().__init__()
        spec = cond_spec["attributes"]
        widths = widths_for(shape, halvings=len)
        self.net = ConvClassifier(shape, len(spec["names"]), widths=widths, dropout=0.0)
        self.scaled = ScaledAttributes(cond_spec)
        groups = [list(group.values()) for group in spec.get("groups", {}).values()]
        self.groups = [[spec["names"].index(name) for name in group] for group in groups]
        grouped = {place for group in self.groups for place in group}
        self.numbers = [place for place in range(len(spec["names"])) if place not in grouped]

    def loss(self, image: Tensor, judgement: Judgement, cond: Condition) -> Tensor:
        """Return the mean negative log-likelihood (), but for a constant, summed over the attributes."""
        found, attributes = self.net(image).float(), cond["attributes"]
        error = found[:, self.numbers] - self.scaled(attributes)[:, self.numbers]
        loss: Tensor = 0.5 * error.square().sum(dim=1).mean()
        for group in self.groups:
            loss = loss + F.cross_entropy(found[:, group], attributes[:, group].argmax(dim=1))
        return loss


class MaskAuxiliary(nn.Module):
    """Tells the class of each pixel by a net of its own, which learns from real images alone.

    It is the discriminator that segments of Schönfeld et al. (2021, Sec. 3.2) without a class for generated pixels.
    """

    learns_from_samples: ClassVar[bool] = False

    def __init__(self, shape: Shape, num_classes: int) -> None:
        super().__init__()
        widths = widths_for(shape, halvings=lambda widths: len(widths) - 1)
        self.net = SegmentationUNet(shape, num_classes, widths=widths, dropout=0.0)

    def loss(self, image: Tensor, judgement: Judgement, cond: Condition) -> Tensor:
        """Return the mean cross-entropy () of the pixels."""
        return F.cross_entropy(self.net(image).float(), cond["mask"])


def widths_for(shape: Shape, halvings: Callable[[Sequence[int]], int]) -> list[int]:
    """Return channels at each resolution, as many resolutions as the sides of images can be halved for.

    Raises:
        ValueError: If they cannot be halved at all.
    """
    widths = list(WIDTHS)
    while any(side % 2 ** halvings(widths) for side in shape[1:]):
        widths.pop()
    if not widths:
        raise ValueError(f"an auxiliary classifier needs images of even sides, got {shape[1]}x{shape[2]}")
    return widths


def auxiliary(keys: Sequence[str], cond_spec: CondSpec, shape: Shape, feature_dim: int) -> nn.Module | None:
    """Return the classifier of the first condition that can be told; null if there is none.

    Args:
        keys: What a generator is asked for.
        cond_spec: The data's specification of it.
        shape: Image shape (C, H, W).
        feature_dim: Width of the discriminator's features.
    """
    makers: dict[str, Callable[[], nn.Module]] = {
        "label": lambda: LabelAuxiliary(feature_dim, len(cond_spec["label"]["names"])),
        "attributes": lambda: AttributesAuxiliary(shape, cond_spec),
        "mask": lambda: MaskAuxiliary(shape, int(cond_spec["mask"]["num_classes"])),
    }
    return next((make() for key, make in makers.items() if key in keys), None)
