from __future__ import annotations

import pytest
import torch

from condgen.checks import check_range, check_shape
from condgen.pixels import to_model_range, to_uint8


def test_every_grey_level_survives_the_round_trip() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    image = to_model_range(levels)
    assert image.min() == -1.0
    assert image.max() == 1.0
    assert torch.equal(to_uint8(image), levels)


def test_leaving_rounds_to_the_nearest_level_and_clamps() -> None:
    step = 2.0 / 255.0
    values = torch.tensor([-3.0, -1.0 + 0.49 * step, -1.0 + 0.51 * step, 1.0, 7.0])
    assert to_uint8(values).tolist() == [0, 0, 1, 255, 255]


def test_doors_refuse_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match="uint8"):
        to_model_range(torch.zeros(1, 1, 2, 2))
    with pytest.raises(TypeError, match="floating"):
        to_uint8(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (4, 3, 8, 8), (4, 1, 8, 9), (1, 8, 8)])
def test_wrong_shapes_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"image must be \(N, 1, 8, 8\)"):
        check_shape(torch.zeros(shape), (1, 8, 8))


@pytest.mark.parametrize("value", [1.01, -1.01, float("nan"), float("inf")])
def test_values_outside_the_range_are_named(value: float) -> None:
    image = torch.zeros(2, 1, 2, 2)
    image[1, 0, 1, 1] = value
    with pytest.raises(ValueError, match=r"finite and in \[-1, 1\]"):
        check_range(image)
    with pytest.raises(ValueError, match="floating point"):
        check_range(image.to(torch.uint8))
