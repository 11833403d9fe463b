"""Condition encoders: raw conditions -> what a net may use."""

from condgen.conditions.base import ConditionEncoder, EncoderFactory
from condgen.conditions.label import LabelEncoder
from condgen.conditions.none import NoCondition

__all__ = ["ConditionEncoder", "EncoderFactory", "LabelEncoder", "NoCondition"]
