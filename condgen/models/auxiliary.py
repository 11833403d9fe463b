"""Auxiliary classifiers, which tell a generator whether its images show what it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from condgen.nets import Judgement, SegmentationUNet
from condgen.types import Condition, CondSpec, Shape

WIDTHS = (16, 32, 64)
"""Channels at each resolution of a net that tells masks; fewer resolutions where sides cannot be halved."""


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


class MaskAuxiliary(nn.Module):
    """Tells the class of each pixel by a net of its own, which learns from real images alone.

    It is the discriminator that segments of Schönfeld et al. (2021, Sec. 3.2) without a class for generated pixels.
    """

    learns_from_samples: ClassVar[bool] = False

    def __init__(self, shape: Shape, num_classes: int) -> None:
        super().__init__()
        widths = list(WIDTHS)
        while any(side % 2 ** (len(widths) - 1) for side in shape[1:]):
            widths.pop()
        self.net = SegmentationUNet(shape, num_classes, widths=widths, dropout=0.0)

    def loss(self, image: Tensor, judgement: Judgement, cond: Condition) -> Tensor:
        """Return the mean cross-entropy () of the pixels."""
        return F.cross_entropy(self.net(image).float(), cond["mask"])


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
        "mask": lambda: MaskAuxiliary(shape, int(cond_spec["mask"]["num_classes"])),
    }
    return next((make() for key, make in makers.items() if key in keys), None)
