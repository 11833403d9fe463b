"""Words of captions, as data sets list them and text encoders read them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

MOST = 4096
"""Words that a data set lists."""


def split_words(text: str) -> list[str]:
    """Split a text into words, numbers and marks, in lower case; what a hyphen joins falls apart."""
    return re.findall(r"[^\W_]+|[^\w\s]|_", text.lower())


def vocabulary(texts: Iterable[str], most: int = MOST) -> tuple[list[str], int]:
    """Return the most frequent words of some texts, in order of their letters, and the most words that a text has.

    A word that occurs once is none of them, where that leaves some: nothing could be learned of it.
    """
    counts: Counter[str] = Counter()
    longest = 0
    for text in texts:
        words = split_words(text)
        counts.update(words)
        longest = max(longest, len(words))
    frequent = [word for word, count in counts.most_common(most) if count > 1]
    return sorted(frequent or counts), longest
