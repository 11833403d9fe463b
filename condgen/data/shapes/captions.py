"""Captions of facts, and the facts of captions."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from condgen.data.shapes.draws import WORDS, chosen, uniforms
from condgen.data.shapes.facts import PLACES, SIZES, UNKNOWN, Facts
from condgen.data.shapes.words import (
    AFTER_WORDS,
    BETWEEN_WORDS,
    COLOUR_WORDS,
    COLUMN_WORDS,
    MIDDLE_WORDS,
    OBJECT,
    ONE_OBJECT,
    PLACE_WORDS,
    RELATION_WORDS,
    ROW_WORDS,
    SHAPE_WORDS,
    SIZE_WORDS,
    TWO_OBJECTS,
    article,
)
from condgen.seeding import derive

NAN = float("nan")
APART = ((0.25, 0.5), (0.75, 0.5), (0.5, 0.25), (0.5, 0.75))
"""Where an object stands in a relation of which nothing but its name is known; the other stands opposite."""


def caption(facts: Facts, seed: int) -> list[str]:
    """Say what the pictures show, in words that vary with the seed and the place of each picture."""
    return say(facts, uniforms(derive(seed, "caption"), torch.arange(len(facts.shape)))[:, WORDS:])


def say(facts: Facts, u: NDArray[np.float64]) -> list[str]:
    """Say what the pictures show in words that numbers (N, 8) in [0, 1) choose."""
    many = chosen(u, 2520)  # divisible by every number of choices
    names = torch.stack([facts.shape, facts.colour, facts.size_name], dim=-1).tolist()
    if facts.shape.shape[1] == 1:
        cells = facts.cell.squeeze(1).tolist()
        return [say_one(name[0], cell, pick) for name, cell, pick in zip(names, cells, many.tolist(), strict=True)]
    relations = facts.relation.squeeze(1).tolist()
    return [say_two(name, rel, pick) for name, rel, pick in zip(names, relations, many.tolist(), strict=True)]


def say_one(names: list[int], cell: int, pick: list[int]) -> str:
    """Say what and where an object is."""
    shape, colour, size = named(names, pick[:3])
    place = one_of(PLACE_WORDS[cell], pick[3])
    return one_of(ONE_OBJECT, pick[4]).format(
        a=article(size),
        a_colour=article(colour),
        a_shape=article(shape),
        size=size,
        colour=colour,
        shape=shape,
        place=place,
    )


def say_two(names: list[list[int]], relation: int, pick: list[int]) -> str:
    """Say what two objects are and how they stand."""
    objects = []
    for own, words in zip(names, (pick[:3], pick[3:6]), strict=True):
        shape, colour, size = named(own, words)
        objects.append(OBJECT.format(a=article(size), size=size, colour=colour, shape=shape))
    between, after = (one_of(words[relation], pick[6]) for words in (BETWEEN_WORDS, AFTER_WORDS))
    return one_of(TWO_OBJECTS, pick[7]).format(first=objects[0], second=objects[1], between=between, after=after)


def named(names: list[int], pick: list[int]) -> list[str]:
    """Choose words for shape, colour and size."""
    return [
        one_of(words[name], number)
        for words, name, number in zip((SHAPE_WORDS, COLOUR_WORDS, SIZE_WORDS), names, pick, strict=True)
    ]


def one_of(words: tuple[str, ...], number: int) -> str:
    """Choose a word."""
    return words[number % len(words)]


def encode(captions: list[str], max_length: int) -> Tensor:
    """Turn captions into UTF-8 bytes (N, max_length) uint8, padded with zeros.

    Raises:
        ValueError: If one is longer.
    """
    texts = [text.encode() for text in captions]
    longest = max(texts, key=len, default=b"")
    if len(longest) > max_length:
        raise ValueError(f"caption {longest.decode()!r} has {len(longest)} bytes, where {max_length} fit")
    table = np.array(texts, dtype=f"S{max_length}").view(np.uint8)
    return torch.from_numpy(table.reshape(len(texts), max_length))


def decode(text: Tensor) -> list[str]:
    """Turn UTF-8 bytes (N, B), padded with zeros, into captions."""
    return [bytes(row).rstrip(b"\0").decode() for row in text.numpy()]


class Mention(NamedTuple):
    """What is said of one object, as places of names; -1 where nothing is said."""

    shape: int = UNKNOWN
    colour: int = UNKNOWN
    size: int = UNKNOWN


def split(text: str) -> list[str]:
    """Return the words in small letters; those with a hyphen fall apart."""
    return re.findall(r"[a-z]+", text.lower())


LEXICON = {
    split(word)[0]: (fact, place)
    for fact, words in zip(Mention._fields, (SHAPE_WORDS, COLOUR_WORDS, SIZE_WORDS), strict=True)
    for place, synonyms in enumerate(words)
    for word in synonyms
}


def parse_caption(captions: list[str], n_objects: int = 1) -> Facts:
    """Read the facts that captions state: the inverse of `caption`, up to the ranges that names stand for.

    Sizes and positions are the middle of what their names mean; objects of a relation stand opposite each other. What
    is not said, or in words that captions do not use, is -1 or NaN.

    Args:
        captions: One for each picture.
        n_objects: 1, or 2 with a relation.
    """
    rows = [read_one(text) if n_objects == 1 else read_two(text) for text in captions]
    names = torch.tensor([[mention for mention, _ in row] for row in rows], dtype=torch.int64).view(-1, n_objects, 3)
    where = torch.tensor([[point for _, point in row] for row in rows], dtype=torch.float32).view(-1, n_objects, 2)
    sizes = torch.tensor([*SIZES, NAN])[names[..., 2]]  # -1 is the last
    return Facts(names[..., 0], names[..., 1], sizes, where[..., 0], where[..., 1])


Row = list[tuple[Mention, tuple[float, float]]]


def read_one(text: str) -> Row:
    """Read shape, colour, size and place, in whatever order they come."""
    words = split(text)
    said = dict(LEXICON[word] for word in words if word in LEXICON)
    return [(Mention(**said), point(words))]


def point(words: list[str]) -> tuple[float, float]:
    """Read the middle (x, y) of the place that is named."""
    row = next((ROW_WORDS[word] for word in words if word in ROW_WORDS), None)
    column = next((COLUMN_WORDS[word] for word in words if word in COLUMN_WORDS), None)
    if row is None and column is None and not MIDDLE_WORDS & set(words):
        return NAN, NAN
    return PLACES[1 if column is None else column], PLACES[1 if row is None else row]


def read_two(text: str) -> Row:
    """Read two objects, each up to its noun, and their relation; first comes the one that the relation is said of."""
    words = split(text)
    nouns = [place for place, word in enumerate(words) if LEXICON.get(word, ("",))[0] == "shape"][:2]
    mentions = [
        Mention(**dict(LEXICON[word] for word in words[start:end] if word in LEXICON))
        for start, end in zip(
            [0, *(noun + 1 for noun in nouns)], [*(noun + 1 for noun in nouns), len(words)], strict=True
        )
    ][: max(len(nouns), 1)]
    first, second = [*mentions, Mention(), Mention()][:2]
    place = next((place for place, word in enumerate(words) if word in RELATION_WORDS), None)
    if place is None:
        return [(first, (NAN, NAN)), (second, (NAN, NAN))]
    if len(nouns) == 2 and not nouns[0] < place < nouns[1]:
        first, second = second, first
    x, y = APART[RELATION_WORDS[words[place]]]
    return [(first, (x, y)), (second, (1 - x, 1 - y))]
