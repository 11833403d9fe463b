"""The English of captions: the words for each fact, and the sentences that they stand in."""

from __future__ import annotations

import re

SHAPE_WORDS = (("circle", "disc", "dot"), ("square", "box", "block"), ("triangle", "wedge"), ("cross", "plus sign"))
COLOUR_WORDS = (
    ("red", "scarlet", "crimson"),
    ("green", "emerald"),
    ("blue", "azure"),
    ("yellow", "golden"),
    ("purple", "violet"),
    ("cyan", "turquoise", "aqua"),
)
SIZE_WORDS = (("small", "little", "tiny"), ("medium", "medium-sized", "mid-sized"), ("large", "big", "huge"))
PLACE_WORDS = (
    ("in the top left", "in the upper left corner", "at the top left"),
    ("at the top", "at the top centre", "in the upper middle"),
    ("in the top right", "in the upper right corner", "at the top right"),
    ("on the left", "at the left", "in the middle left"),
    ("in the centre", "in the middle", "at the centre"),
    ("on the right", "at the right", "in the middle right"),
    ("in the bottom left", "in the lower left corner", "at the bottom left"),
    ("at the bottom", "at the bottom centre", "in the lower middle"),
    ("in the bottom right", "in the lower right corner", "at the bottom right"),
)
BETWEEN_WORDS = (("left of", "to the left of"), ("right of", "to the right of"), ("above", "over"), ("below", "under"))
"""Between two objects, or before both; the first is what the second is compared with where they come before."""
AFTER_WORDS = (
    ("on its left", "to its left"),
    ("on its right", "to its right"),
    ("above it", "over it"),
    ("below it", "under it"),
)
"""Behind two objects, of which the first is `it`."""

ONE_OBJECT = (
    "{a} {size} {colour} {shape} {place}",
    "{place}, {a} {size} {colour} {shape}",
    "there is {a} {size} {colour} {shape} {place}",
    "{a_colour} {colour} {shape} {place}, {size}",
    "{a_shape} {shape} {place}, {size} and {colour}",
    "the {shape} {place} is {size} and {colour}",
    "a picture of {a} {size} {colour} {shape} {place}",
)
TWO_OBJECTS = (
    "{first} {between} {second}",
    "{first} is {between} {second}",
    "there is {first} {between} {second}",
    "{between} {second} there is {first}",
    "{between} {second}, {first}",
    "{second} with {first} {after}",
    "{second}, and {first} {after}",
)
OBJECT = "{a} {size} {colour} {shape}"
MAX_LENGTH = (80, 96)
"""Bytes of UTF-8 that the longest caption of one object, and of two, fits in."""
MAX_WORDS = (15, 20)
"""Words and marks that they have at most."""

ROW_WORDS = {"top": 0, "upper": 0, "bottom": 2, "lower": 2}
COLUMN_WORDS = {"left": 0, "right": 2}
MIDDLE_WORDS = {"centre", "center", "middle"}
RELATION_WORDS = {
    "left": 0,
    "right": 1,
    "above": 2,
    "over": 2,
    "below": 3,
    "under": 3,
    "beneath": 3,
    "underneath": 3,
}
"""Words that captions are read by, with places in ROWS, COLUMNS (its middle is that of both) and RELATIONS."""


def article(word: str) -> str:
    """Return a or an."""
    return "an" if word[0] in "aeiou" else "a"


def all_words() -> list[str]:
    """Return every word that a caption can have, and the comma, sorted; those with a hyphen fall apart."""
    tables = (SHAPE_WORDS, COLOUR_WORDS, SIZE_WORDS, PLACE_WORDS, BETWEEN_WORDS, AFTER_WORDS, (ONE_OBJECT, TWO_OBJECTS))
    texts = ["a an", *(text for table in tables for group in table for text in group)]
    return sorted(set(re.findall(r"[a-z]+|[,-]", re.sub(r"{\w+}", " ", " ".join(texts)))))
