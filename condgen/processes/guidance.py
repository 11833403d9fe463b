"""Classifier-free guidance by several conditions, each with a scale of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Term(NamedTuple):
    """A net's estimate under some of the conditions; its difference from the term before it counts `scale` times."""

    kept: tuple[str, ...]
    scale: float


def nested(scales: Mapping[str, float]) -> list[Term]:
    """Return the estimates that guidance by scales of conditions takes, none of weight 0; the first counts as it is.

    Conditions join one after the other, as in InstructPix2Pix (Brooks et al. 2023, Eq. 3): e() + s_1 (e(c_1) - e()) +
    s_2 (e(c_1, c_2) - e(c_1)) ... So with all scales 1 it is the conditional estimate, and with all scales s it is one
    guidance by all conditions (Ho & Salimans 2022, Eq. 6). The smaller scale joins first, as the image before the text
    there, and equal ones together, so that nothing jumps as scales above 0 change. A condition of scale 0 never joins.
    """
    levels = sorted({scale for scale in scales.values() if scale > 0})
    terms = [Term((), 1.0)]
    terms += [Term(tuple(key for key, own in scales.items() if 0 < own <= scale), scale) for scale in levels]
    return terms[1:] if levels[:1] == [1.0] else terms
