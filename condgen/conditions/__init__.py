"""Condition encoders: raw conditions -> what a net may use."""

from condgen.conditions.attributes import AttributesEncoder
from condgen.conditions.base import ConditionEncoder, Drop, EncoderFactory
from condgen.conditions.label import LabelEncoder
from condgen.conditions.none import NoCondition
from condgen.conditions.text import TextEncoder

__all__ = [
    "AttributesEncoder",
    "ConditionEncoder",
    "Drop",
    "EncoderFactory",
    "LabelEncoder",
    "NoCondition",
    "TextEncoder",
]
