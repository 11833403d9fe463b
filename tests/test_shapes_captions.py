"""Captions state all facts in many words, and are read back."""

from __future__ import annotations

import pytest
import torch

from condgen.data import ShapesImages
from condgen.data.shapes import asked, caption, decode, encode, from_attributes, parse_caption, to_attributes
from condgen.data.shapes.captions import split
from condgen.data.shapes.draws import draw_scenes, uniforms
from condgen.data.shapes.facts import Facts
from condgen.data.shapes.words import (
    AFTER_WORDS,
    BETWEEN_WORDS,
    COLOUR_WORDS,
    MAX_LENGTH,
    PLACE_WORDS,
    SHAPE_WORDS,
    SIZE_WORDS,
)


def facts(n_objects: int, count: int = 8000) -> Facts:
    return draw_scenes(uniforms(9, torch.arange(count)), n_objects, torch.ones(4, 6, dtype=torch.bool)).facts


def names(facts: Facts) -> torch.Tensor:
    where = facts.cell if facts.shape.shape[1] == 1 else facts.relation
    return torch.cat([facts.shape, facts.colour, facts.size_name, where], dim=1)


@pytest.mark.parametrize("n_objects", [1, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_reading_is_the_inverse_of_saying(n_objects: int, seed: int) -> None:
    said = facts(n_objects)
    read = parse_caption(caption(said, seed), n_objects)
    assert torch.equal(names(read), names(said))
    assert int(names(read).min()) >= 0


@pytest.mark.parametrize("n_objects", [1, 2])
def test_captions_vary_by_seed_and_all_words_are_used(n_objects: int) -> None:
    said = facts(n_objects)
    captions = caption(said, 0)
    assert captions == caption(said, 0)
    assert sum(a != b for a, b in zip(captions, caption(said, 1), strict=True)) > 0.9 * len(captions)
    used = {word for text in captions for word in split(text)}
    where = PLACE_WORDS if n_objects == 1 else (*BETWEEN_WORDS, *AFTER_WORDS)
    for words in (*SHAPE_WORDS, *COLOUR_WORDS, *SIZE_WORDS, *where):
        assert all(set(split(word)) <= used for word in words)
    assert len(set(captions)) > 0.95 * len(captions) * (1 if n_objects == 2 else 0.8)
    same = Facts(*(value[:1].expand(200, -1) for value in said))
    assert len(set(caption(same, 0))) > 100
    assert all(text == text.strip() and "  " not in text and "{" not in text for text in captions)
    assert not any(f" a {vowel}" in f" {text}" for text in captions for vowel in "aeiou")


@pytest.mark.parametrize("n_objects", [1, 2])
def test_captions_fit_and_survive_their_bytes(n_objects: int) -> None:
    captions = caption(facts(n_objects), 0)
    longest = max(map(len, captions))
    assert 0.8 * MAX_LENGTH[n_objects - 1] < longest <= MAX_LENGTH[n_objects - 1]
    text = encode(captions, MAX_LENGTH[n_objects - 1])
    assert text.dtype == torch.uint8
    assert decode(text) == captions
    assert bytes(text[0].numpy()).rstrip(b"\0").decode() == captions[0]
    with pytest.raises(ValueError, match=f"has {len(captions[0])} bytes, where 8 fit"):
        encode(captions[:1], 8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A large RED circle at the top left.", (0, 0, 2, 0)),
        ("center: tiny golden box", (1, 3, 0, 4)),
        ("an emerald plus sign", (3, 1, -1, -1)),
        ("something large on the right", (-1, -1, 2, 5)),
        ("lower left", (-1, -1, -1, 6)),
        ("maroon hexagon", (-1, -1, -1, -1)),
        ("", (-1, -1, -1, -1)),
    ],
)
def test_captions_of_one_object_in_other_words(text: str, expected: tuple[int, ...]) -> None:
    assert tuple(names(parse_caption([text]))[0].tolist()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red circle left of a small blue square", (0, 1, 0, 2, -1, 0, 0)),
        ("a blue square, and left of it a red circle", (1, 0, 2, 0, -1, -1, 0)),
        ("Underneath a cross there is a cyan triangle", (2, 3, 5, -1, -1, -1, 3)),
        ("a red circle beside a blue square", (0, 1, 0, 2, -1, -1, -1)),
        ("a red circle", (0, -1, 0, -1, -1, -1, -1)),
        ("", (-1,) * 7),
    ],
)
def test_captions_of_two_objects_in_other_words(text: str, expected: tuple[int, ...]) -> None:
    assert tuple(names(parse_caption([text], 2))[0].tolist()) == expected


@pytest.mark.parametrize("n_objects", [1, 2])
def test_conditions_ask_for_the_facts_of_their_picture(n_objects: int) -> None:
    images = ShapesImages(0, "test", 500, n_objects=n_objects, conditions=("attributes", "text"))
    index = torch.arange(500)
    cond, true = images.take(index).cond, images.scenes(index).facts
    assert all(torch.equal(a, b) for a, b in zip(asked(cond, n_objects), true, strict=True))
    assert torch.equal(names(asked({"text": cond["text"]}, n_objects)), names(true))
    assert all(torch.equal(a, b) for a, b in zip(from_attributes(to_attributes(true)), true, strict=True))


def test_a_label_asks_for_a_shape_alone() -> None:
    only = asked({"label": torch.tensor([2, 0])})
    assert names(only).tolist() == [[2, -1, -1, -1], [0, -1, -1, -1]]
    with pytest.raises(ValueError, match="by attributes, text or label, got mask"):
        asked({"mask": torch.zeros(1, 4, 4)})
