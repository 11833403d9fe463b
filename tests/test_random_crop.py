"""The jitter of pix2pix: a part of the image at its size, the same part of all that shows the same place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from condgen.data import Digits, InTurn, RandomCrop, RandomFlip
from condgen.seeding import generator

N = 200


def ramps(side: int) -> torch.Tensor:
    """Columns and rows, (N, 2, side, side): the coordinates of pixels' centres, in [-1, 1] from edge to edge."""
    place = (torch.arange(side) + 0.5) / side * 2 - 1
    return torch.stack([place.expand(side, side), place[:, None].expand(side, side)]).expand(N, -1, -1, -1)


def test_no_zoom_changes_nothing() -> None:
    image = torch.rand(4, 3, 8, 8) * 2 - 1
    torch.testing.assert_close(RandomCrop(1.0)(image, generator("x")), image, rtol=0, atol=1e-5)


def test_nothing_comes_in_from_outside() -> None:
    white = torch.ones(N, 1, 8, 8)
    torch.testing.assert_close(RandomCrop()(white, generator("x")), white)


@pytest.mark.parametrize("zoom", [286 / 256, 2.0])
def test_what_is_shown_is_a_part_of_the_image_enlarged(zoom: float) -> None:
    side = 32
    out = RandomCrop(zoom)(ramps(side), generator("x"))
    columns = out[:, 0, side // 2, 2:-2]
    torch.testing.assert_close(columns.diff(dim=1), torch.full((N, side - 5), 2 / side / zoom), rtol=0, atol=1e-5)
    centre = out[:, :, side // 2 - 1 : side // 2 + 1, side // 2 - 1 : side // 2 + 1].mean(dim=(2, 3))
    room = 1 - 1 / zoom  # by so much the part can lie off the middle before it leaves the image
    assert centre.abs().max() <= room + 1e-5
    assert (centre.amax(dim=0) > 0.9 * room).all()
    assert (centre.amin(dim=0) < -0.9 * room).all()
    assert abs(float(torch.corrcoef(centre.T)[0, 1])) < 0.3


def test_maps_of_two_resolutions_show_the_same_part() -> None:
    image = ramps(32)
    small = RandomCrop(1.5)(F.avg_pool2d(image, 4), generator("x"))
    large = F.avg_pool2d(RandomCrop(1.5)(image, generator("x")), 4)
    torch.testing.assert_close(small[..., 1:-1, 1:-1], large[..., 1:-1, 1:-1], rtol=0, atol=1e-5)


def test_source_mask_and_image_change_alike() -> None:
    data = Digits()
    data.cond_spec = {"source": {"channels": 1}, "mask": {"num_classes": 2}}
    data.trainer = SimpleNamespace(global_rank=0)
    image = F.interpolate(torch.randn(N, 1, 4, 4), size=(32, 32), mode="bilinear").clamp(-1, 1)
    cond = {"source": image, "mask": (image[:, 0] > 0).long()}
    jitter: Any = InTurn(RandomCrop(), RandomFlip())
    changed, new = data._augmented(jitter, image, cond, 0)
    assert ((changed - image).abs().amax(dim=(1, 2, 3)) > 0.01).all()
    assert torch.equal(new["source"], changed)
    agree = new["mask"] == (changed[:, 0] > 0)
    assert agree.float().mean() > 0.97  # at borders of the mask, resampling rounds


@pytest.mark.parametrize("zoom", [0.9, float("nan"), float("inf")])
def test_a_zoom_that_would_show_the_outside_is_refused(zoom: float) -> None:
    with pytest.raises(ValueError, match=f"RandomCrop needs a finite zoom >= 1, got {zoom}"):
        RandomCrop(zoom)
