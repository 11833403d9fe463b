"""Drawn shapes: pictures whose every fact is known, and a checker that measures the facts of any picture."""

from condgen.data.shapes.attributes import asked, from_attributes, to_attributes
from condgen.data.shapes.captions import caption, decode, encode, parse_caption
from condgen.data.shapes.checker import Measured, measure
from condgen.data.shapes.facts import COLOURS, COLUMNS, RELATIONS, ROWS, SHAPES, SIZE_NAMES, Facts
from condgen.data.shapes.images import ShapesImages
from condgen.data.shapes.module import Shapes
from condgen.data.shapes.obedience import obeyed_names, obeyed_numbers

__all__ = [
    "COLOURS",
    "COLUMNS",
    "RELATIONS",
    "ROWS",
    "SHAPES",
    "SIZE_NAMES",
    "Facts",
    "Measured",
    "Shapes",
    "ShapesImages",
    "asked",
    "caption",
    "decode",
    "encode",
    "from_attributes",
    "measure",
    "obeyed_names",
    "obeyed_numbers",
    "parse_caption",
    "to_attributes",
]
