"""The words that every layer shares: shapes, conditions, batches and the routes a condition takes into a net."""

from __future__ import annotations

from typing import Any, NamedTuple, NotRequired, TypedDict

from torch import Tensor

Shape = tuple[int, int, int]
"""(channels, height, width)."""

Condition = dict[str, Tensor]
"""Raw conditions, N rows each; each key means one thing:

label: (N,) int64, class, or the target domain of an unpaired translation.
attributes: (N, A) float32.
text: (N, B) uint8, UTF-8 bytes padded with zeros; on the CPU, whatever the model's device.
source: (N, C, H, W) float32 in [-1, 1], an image to translate.
low_res: (N, C, h, w) float32 in [-1, 1].
style: (N, C, H, W) float32 in [-1, 1].
mask: (N, H, W) int64, a class per pixel.
known: (N, 1, H, W) float32, 1 where pixels of `source` are given and 0 where they are to be filled in.

Data sets keep pictures and masks as uint8; they change with the image's pixels where a batch enters.
"""

CondSpec = dict[str, dict[str, Any]]
"""What a data set offers, by condition, in plain values:

label: {"names": ["zero", "one"]};  attributes: {"names": [...], "low": [...], "high": [...]}, and too {"flags": [...]},
those that are 0 or 1, and {"groups": {"colour": {"red": "red"}}}, by the words for their flags, of which one is 1;
text: {"max_length": 64}, in bytes, and {"words": ["a", "red", ...], "max_words": 16} too where the words of captions
are known, and how many words and marks one has at most;
source, low_res, style: {"channels": 3}, and source {"paired": True} too, and low_res {"factor": 4}, by which its sides
are shorter than the image's;  mask: {"num_classes": 12};  known: {}.
"""


class Batch(TypedDict):
    """What a model receives.

    image: (N, C, H, W) float32 in [-1, 1].
    index: (N,) int64 position in the split; evaluation only, so that each image is known by its number.
    """

    image: Tensor
    cond: Condition
    index: NotRequired[Tensor]


class CondDims(NamedTuple):
    """Width of each route of `Encoded`; 0 means that the route is absent."""

    vector: int = 0
    tokens: int = 0
    spatial: int = 0


class Encoded(NamedTuple):
    """An encoded condition; routes are named, never guessed from a tensor's rank.

    vector: (N, D), tokens: (N, L, D), spatial: (N, C, H, W) of the image's height and width; None where absent.
    token_mask: (N, L) bool, true for the tokens that are there, at least one in each row; the others are padding, which
    nets ignore. None where all are there.
    """

    vector: Tensor | None = None
    tokens: Tensor | None = None
    spatial: Tensor | None = None
    token_mask: Tensor | None = None
