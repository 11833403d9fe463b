"""The checker knows a picture's facts from its pixels, and knows when they are not those that were asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.data import ShapesImages
from condgen.data.shapes import Facts, asked, measure, obeyed_names, obeyed_numbers

COUNT = 600


def drawn(n_objects: int, size: int) -> tuple[Tensor, dict[str, Tensor], Facts]:
    images = ShapesImages(
        3, "test", COUNT, n_objects=n_objects, image_size=size, conditions=("attributes", "text", "mask")
    )
    rows = images.take(torch.arange(COUNT))
    return rows.pixels, rows.cond, images.scenes(torch.arange(COUNT)).facts


def blurred(pixels: Tensor, sigma: float) -> Tensor:
    """Convolve with a normal distribution; the frame's pixels go on outside."""
    if sigma == 0:
        return pixels
    kernel = torch.exp(-((torch.arange(-4, 5) / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1).expand(3, 1, 1, -1)
    image = F.pad(pixels.float(), (4, 4, 4, 4), mode="replicate")
    for weight in (kernel, kernel.transpose(2, 3)):
        image = F.conv2d(image, weight, groups=3)
    return image.round().to(torch.uint8)


@pytest.mark.parametrize("n_objects", [1, 2])
@pytest.mark.parametrize(
    ("size", "sigma", "least"),
    [
        (16, 0.0, 0.99),
        (16, 0.5, 0.98),
        (32, 0.0, 0.9999),
        (32, 0.5, 0.9999),
        (32, 1.0, 0.99),
        (64, 0.0, 1.0),
        (64, 0.5, 1.0),
    ],
)
def test_facts_of_real_pictures_are_measured(n_objects: int, size: int, sigma: float, least: float) -> None:
    pixels, cond, facts = drawn(n_objects, size)
    measured = measure(blurred(pixels, sigma), n_objects)
    for result in (obeyed_names(measured, facts), obeyed_names(measured, asked({"text": cond["text"]}, n_objects))):
        for name, right in result.items():
            assert right.dtype == torch.bool
            assert right.shape == (COUNT, n_objects if name in ("shape", "colour", "size_name") else 1)
            assert float(right.float().mean()) >= least, name
    for name, right in obeyed_numbers(measured, asked(cond, n_objects)).items():
        assert float(right.float().mean()) >= least, name
    true, mine = cond["mask"].long(), measured.mask
    both = ((true == mine) & (true > 0)).sum((1, 2)) / ((true > 0) | (mine > 0)).sum((1, 2))
    assert float(both.mean()) >= (0.9 if sigma / size > 0.02 else 0.96)


@pytest.mark.parametrize("n_objects", [1, 2])
def test_noise_and_specks_leave_the_facts_known(n_objects: int) -> None:
    pixels, _, facts = drawn(n_objects, 32)
    noisy = (pixels.float() + 16 * torch.randn(pixels.shape)).clamp(0, 255).to(torch.uint8)
    specks = pixels.clone()
    specks[torch.arange(COUNT), :, torch.randint(0, 32, (COUNT,)), torch.randint(0, 32, (COUNT,))] = 255
    for changed, least in ((noisy, 0.99), (specks, 0.96)):
        for name, right in obeyed_names(measure(changed, n_objects), facts).items():
            assert float(right.float().mean()) >= least, name


def other(value: Tensor, count: int) -> Tensor:
    return (value + 1 + torch.arange(value.numel()).view_as(value) % (count - 1)) % count


def test_each_fact_that_differs_is_found_and_no_other() -> None:
    pixels, _, facts = drawn(1, 32)
    measured = measure(pixels)
    moved = torch.where(facts.x > 0.5, facts.x - 0.2, facts.x + 0.2)
    wrong = {
        "shape": facts._replace(shape=other(facts.shape, 4)),
        "colour": facts._replace(colour=other(facts.colour, 6)),
        "size_name": facts._replace(size=torch.where(facts.size > 0.2, 0.165, 0.27)),
        "cell": facts._replace(x=moved),
    }
    for name, facts_asked in wrong.items():
        for fact, right in obeyed_names(measured, facts_asked).items():
            assert bool(right.any()) == bool(right.all()) == (fact != name), (name, fact)
    assert obeyed_numbers(measured, facts._replace(size=facts.size * 1.1))["size"].all()
    assert not obeyed_numbers(measured, facts._replace(size=facts.size * 1.22))["size"].any()
    assert obeyed_numbers(measured, facts._replace(x=facts.x + 1.9 / 32))["position"].all()
    assert not obeyed_numbers(measured, facts._replace(y=facts.y + 2.1 / 32))["position"].any()


def test_two_objects_are_matched_and_judged_fact_by_fact() -> None:
    pixels, _, facts = drawn(2, 32)
    measured = measure(pixels, 2)
    turned = facts.swapped(torch.ones(COUNT, dtype=torch.bool))
    assert all(right.all() for right in obeyed_names(measured, turned).values())
    clear = (facts.shape[:, 0] != facts.shape[:, 1]) & (facts.colour[:, 0] != facts.colour[:, 1])
    mirrored = facts._replace(x=1 - facts.x, y=1 - facts.y)
    result = obeyed_names(measured, mirrored)
    assert not result["relation"][clear].any()
    assert result["shape"][clear].all()
    colour = torch.stack([other(facts.colour[:, 0], 6), facts.colour[:, 1]], dim=1)
    result = obeyed_names(measured, facts._replace(colour=colour))
    assert result["shape"][clear].all()
    assert result["relation"][clear].all()
    assert not result["colour"][clear].all(1).any()


def test_what_is_not_asked_for_is_obeyed() -> None:
    pixels, _, facts = drawn(1, 32)
    result = obeyed_names(measure(pixels), asked({"label": facts.shape.squeeze(1)}))
    assert all(right.all() for right in result.values())
    numbers = obeyed_numbers(measure(pixels), asked({"label": facts.shape.squeeze(1)}))
    assert all(right.all() for right in numbers.values())


@pytest.mark.parametrize("n_objects", [1, 2])
def test_pictures_of_nothing_obey_nothing(n_objects: int) -> None:
    _, _, facts = drawn(n_objects, 32)
    noise = torch.randint(0, 256, (COUNT, 3, 32, 32), dtype=torch.uint8)
    faint = torch.randint(100, 112, (COUNT, 3, 32, 32), dtype=torch.uint8)
    black = torch.zeros(COUNT, 3, 32, 32, dtype=torch.uint8)
    for pixels in (noise, faint, black):
        measured = measure(pixels, n_objects)
        for result in (obeyed_names(measured, facts), obeyed_numbers(measured, facts)):
            assert float(result["shape"].float().mean()) < 0.05
    assert int(measure(black).number.max()) == int(measure(faint).number.max()) == 0
    assert int(measure(black).mask.max()) == 0


def test_the_number_of_objects_is_a_fact() -> None:
    one, _, one_facts = drawn(1, 32)
    two, _, two_facts = drawn(2, 32)
    assert not obeyed_names(measure(two), one_facts)["count"].any()
    few = obeyed_names(measure(one, 2), two_facts)
    assert not few["count"].any()
    assert not few["shape"].all(1).any()
    assert not few["relation"].any()


def test_a_shape_that_is_none_of_the_four_has_no_name() -> None:
    ring = (
        torch.hypot(*torch.meshgrid(torch.arange(32.0) - 15.5, torch.arange(32.0) - 15.5, indexing="ij")) - 6
    ).abs() < 1.2
    bar = torch.zeros(32, 32, dtype=torch.bool)
    bar[14:17, 4:28] = True
    for form in (ring, bar):
        pixels = torch.where(form, 200, 30).to(torch.uint8).expand(1, 3, 32, 32).clone()
        pixels[:, 1:] = 30
        measured = measure(pixels)
        assert measured.facts.shape.tolist() == [[-1]]
        assert measured.facts.colour.tolist() == [[0]]
        assert measured.number.tolist() == [1]


def test_a_colour_that_is_none_of_the_six_has_no_name() -> None:
    pixels, _, _ = drawn(1, 32)
    grey = pixels.float().mean(1, keepdim=True).expand(-1, 3, -1, -1).to(torch.uint8)
    found = measure(grey).facts
    assert float((found.colour == -1).float().mean()) > 0.95


def test_a_picture_is_measured_in_the_same_way_alone_and_among_others() -> None:
    pixels, _, _ = drawn(2, 32)
    many = measure(pixels, 2)
    for place in (0, 127, 128, 599):
        one = measure(pixels[place : place + 1], 2)
        assert torch.equal(one.mask, many.mask[place : place + 1])
        for a, b in zip(one.facts, many.facts, strict=True):
            torch.testing.assert_close(a, b[place : place + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "bad", [torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8).byte(), torch.zeros(1, 3, 8, 9).byte()]
)
def test_other_than_square_colour_pictures_are_refused(bad: Tensor) -> None:
    with pytest.raises(ValueError, match=r"images must be \(N, 3, S, S\) uint8, got"):
        measure(bad)
