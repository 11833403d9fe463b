"""A small convolutional classifier; its features serve the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from condgen.nets.layers import require_positive
from condgen.nets.recognising import RecognisingNet, check_halvings
from condgen.types import Shape


class ConvClassifier(RecognisingNet):
    """Two 3x3 convolutions and a halving per resolution, then features and class logits.

    Args:
        shape: Image shape (C, H, W); H and W must be divisible by 2^len(widths).
        num_classes: Number of classes.
        widths: Channels at each resolution.
        feature_dim: Number of features before the last linear layer.
        dropout: Probability of dropping a feature before the last linear layer.
    """

    def __init__(
        self,
        shape: Shape,
        num_classes: int,
        *,
        widths: Sequence[int] = (32, 64),
        feature_dim: int = 128,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(shape, num_classes, widths=list(widths), feature_dim=feature_dim, dropout=dropout)
        require_positive(widths=widths, feature_dim=feature_dim)
        channels, height, width = shape
        halvings = len(widths)
        check_halvings(shape, halvings, halvings)
        self.feature_dim = feature_dim
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, *widths)):
            layers += [*conv(before, after), *conv(after, after), nn.MaxPool2d(2)]
        cells = (height >> halvings) * (width >> halvings)
        self.body = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(widths[-1] * cells, feature_dim, bias=False),
            nn.BatchNorm1d(feature_dim),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(feature_dim, num_classes)

    def features(self, image: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to features (N, feature_dim)."""
        out: Tensor = self.body(image)
        return out

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to class logits (N, num_classes)."""
        out: Tensor = self.head(self.dropout(self.features(image)))
        return out


def conv(channels_in: int, channels_out: int) -> list[nn.Module]:
    """Return a 3x3 convolution with batch normalisation and ReLU."""
    return [nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU()]
