"""Stroke width and slant: of drawn strokes, whose both are known, and of real digits."""

from __future__ import annotations

from math import cos, radians, sin

import numpy as np
import pytest
import torch
from conftest import mnist_root
from torch import Tensor
from torch.nn import functional as F

from condgen.data import MNIST
from condgen.metrics import StrokeStyle
from condgen.metrics.strokes import stroke_style

LENGTH = 20.0


def stroke(width: float, degrees: float, place: tuple[float, float] = (15.5, 15.5)) -> Tensor:
    """Draw a straight stroke with soft edges, leaning to the right, uint8 (1, 1, 32, 32)."""
    y, x = torch.meshgrid(torch.arange(32.0) - place[0], torch.arange(32.0) - place[1], indexing="ij")
    along, across = (
        x * sin(radians(degrees)) - y * cos(radians(degrees)),
        x * cos(radians(degrees)) + y * sin(radians(degrees)),
    )
    inside = [(half - value.abs() + 0.5).clamp(0, 1) for half, value in ((LENGTH / 2, along), (width / 2, across))]
    return (inside[0] * inside[1] * 255).round().to(torch.uint8)[None, None]


@pytest.mark.parametrize("width", [2.0, 3.0, 4.5])
@pytest.mark.parametrize("degrees", [-40.0, -10.0, 0.0, 17.0, 45.0])
def test_width_and_slant_are_those_of_the_stroke(width: float, degrees: float) -> None:
    ((found, angle),) = stroke_style(stroke(width, degrees)).tolist()
    assert found == pytest.approx(width * LENGTH / (LENGTH + width), rel=0.11)  # the outline of a stroke with ends
    assert angle == pytest.approx(degrees, abs=3.0)  # wide ends are upright


def test_wider_strokes_are_wider_from_two_pixels_on() -> None:
    for degrees in (0.0, 17.0, 45.0):
        found = stroke_style(torch.cat([stroke(0.4 * step, degrees) for step in range(5, 15)]))[:, 0]
        assert found.diff().min() > 0.1
        assert float(stroke_style(stroke(1.2, degrees))[0, 0]) < float(found[0]) + 0.1


def test_place_and_hardness_of_edges_change_little() -> None:
    images = [stroke(3.0, 20.0, place) for place in ((15.5, 15.5), (14.2, 16.9))]
    images.append((images[0] > 127).to(torch.uint8) * 255)
    images.append(F.pad(images[0], (6, 6, 6, 6)))
    found = [stroke_style(image)[0] for image in images]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0.05, atol=0.2)
    cut = stroke_style(stroke(4.0, 0.0)[:, :, :, 16:])  # half of it lies outside
    assert float(cut[0, 0]) < 0.6 * float(stroke_style(stroke(4.0, 0.0))[0, 0])


def test_scores_are_those_of_the_formulas() -> None:
    source = np.random.default_rng(0)
    pairs = source.uniform((1.5, -30, 1.5, -30), (4, 30, 4, 30), (60, 4))
    pairs[:, 2] = pairs[:, 0] + 0.3 * pairs[:, 2]
    image = torch.cat([stroke(width, degrees) for width, degrees in pairs[:, :2]])
    style = torch.cat([stroke(width, degrees) for width, degrees in pairs[:, 2:]])
    metric = StrokeStyle()
    for part in torch.arange(60).split(25):
        metric.update(image[part], {"style": style[part]}, None)
    scores, (found, due) = metric.compute(), (stroke_style(each).numpy() for each in (image, style))
    for place, name in enumerate(("stroke_width", "slant")):
        r, error = np.corrcoef(found[:, place], due[:, place])[0, 1], np.abs(found - due)[:, place].mean()
        assert float(scores[f"{name}_r"]) == pytest.approx(r)
        assert float(scores[f"{name}_error"]) == pytest.approx(error)
    bounds = metric.intervals()
    assert all(bounds[name][0] < value < bounds[name][1] for name, value in scores.items())
    low, high = bounds["stroke_width_r"]
    assert float(low) > 0.8
    low, high = bounds["slant_r"]
    assert float(low) < 0 < float(high)


def test_without_ink_or_without_variety_nothing_is_carried_over() -> None:
    nothing = torch.zeros(8, 1, 32, 32, dtype=torch.uint8)
    assert stroke_style(nothing).eq(0).all()
    style = torch.cat([stroke(2.0 + 0.2 * i, 3.0 * i) for i in range(8)])
    for image in (nothing, stroke(3.0, 20.0).expand(8, -1, -1, -1)):
        metric = StrokeStyle()
        metric.update(image, {"style": style}, None)
        scores = metric.compute()
        assert scores["stroke_width_r"] == scores["slant_r"] == 0.0
        assert scores["stroke_width_error"] > 0.1
    with pytest.raises(ValueError, match=r"measured of grey images \(N, 1, H, W\) uint8, got \(2, 3, 8, 8\)"):
        StrokeStyle().update(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), {"style": nothing[:2]}, None)


def test_real_digits_beside_references_of_other_classes() -> None:
    """Their own style is all theirs, and that of others none."""
    rows = MNIST(root=str(mnist_root()), download=False, style=True).images("test").all()
    rows = rows.take(torch.arange(2000))
    own, others = StrokeStyle(), StrokeStyle()
    own.update(rows.pixels, {"style": rows.pixels}, None)
    others.update(rows.pixels, rows.cond, None)
    assert [float(value) for value in own.compute().values()] == pytest.approx([1.0, 0.0, 1.0, 0.0])
    found = others.compute()
    assert abs(float(found["stroke_width_r"])) < 0.08
    assert abs(float(found["slant_r"])) < 0.12
