"""Condition encoders: raw conditions -> what a net may use."""

from condgen.conditions.attributes import AttributesEncoder
from condgen.conditions.base import ConditionEncoder, Drop, EncoderFactory
from condgen.conditions.compose import Compose
from condgen.conditions.frozen_text import FrozenTextEncoder
from condgen.conditions.label import LabelEncoder
from condgen.conditions.maps import InpaintingEncoder, LowResEncoder, MapEncoder, MaskEncoder, SourceEncoder
from condgen.conditions.none import NoCondition
from condgen.conditions.style import StyleEncoder
from condgen.conditions.text import TextEncoder

__all__ = [
    "AttributesEncoder",
    "Compose",
    "ConditionEncoder",
    "Drop",
    "EncoderFactory",
    "FrozenTextEncoder",
    "InpaintingEncoder",
    "LabelEncoder",
    "LowResEncoder",
    "MapEncoder",
    "MaskEncoder",
    "NoCondition",
    "SourceEncoder",
    "StyleEncoder",
    "TextEncoder",
]
