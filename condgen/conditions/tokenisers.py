"""Captions as numbers of tokens: words that the data knows, or bytes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condgen.words import split_words

log = logging.getLogger("condgen")
PADDING, START, NULL, UNKNOWN = range(4)
"""Numbers of tokens that are no text: what fills up, what begins a caption, a dropped caption, an unknown word."""
FIRST = 4
MOST_SAID = 20
"""Warnings about words and captions, in a process."""
MEMORY = 2**17
"""Captions whose tokens are kept."""


def to_captions(text: Tensor) -> list[bytes]:
    """Return each row of UTF-8 bytes (N, B) uint8 without the zeros at its end."""
    table = text.cpu().contiguous().numpy()
    captions: list[bytes] = table.view(f"S{table.shape[1]}")[:, 0].tolist()
    return captions


@lru_cache(4096)
def say_once(line: str) -> None:
    """Warn, however many encoders read the same caption; of a large set's rare words only the first are named."""
    if say_once.cache_info().currsize < MOST_SAID:
        log.warning(line)
    elif say_once.cache_info().currsize == MOST_SAID:
        log.warning("further unknown words and long captions are not named")


class Words:
    """Caption -> numbers of its words.

    A word that the data does not know is `UNKNOWN`, with a warning that names it; a caption of too many words is cut,
    with a warning too. Each caption is split once, and then remembered.

    Args:
        words: All words and marks of the data's captions, in any order; the place of a word is its number.
        length: Tokens per caption, the start included.
    """

    def __init__(self, words: list[str], length: int) -> None:
        known = dict.fromkeys(part for word in words for part in split_words(word))
        self.numbers = {word: number for number, word in enumerate(known, start=FIRST)}
        self.count = FIRST + len(self.numbers)
        self.length = length
        self._rows: dict[bytes, np.ndarray[Any, Any]] = {}

    def __call__(self, text: Tensor) -> Tensor:
        """Turn UTF-8 bytes (N, B) uint8 into numbers of tokens (N, length) int64, on the CPU."""
        captions = to_captions(text)
        if len(self._rows) > MEMORY:
            self._rows.clear()
        rows = [row if (row := self._rows.get(caption)) is not None else self._read(caption) for caption in captions]
        return torch.from_numpy(np.stack(rows))

    def _read(self, caption: bytes) -> np.ndarray[Any, Any]:
        text = caption.decode(errors="replace")
        words = split_words(text)
        for word in words:
            if word not in self.numbers:
                say_once(f"the data's captions do not have {word!r}, read as an unknown word")
        if len(words) >= self.length:
            say_once(f"of {len(words)} words only the first {self.length - 1} are read: {text!r}")
        row = np.full(self.length, PADDING, dtype=np.int64)
        numbers = [START, *(self.numbers.get(word, UNKNOWN) for word in words)][: self.length]
        row[: len(numbers)] = numbers
        self._rows[caption] = row
        return row


class WordBag:
    """Caption -> which of some words it has, in any order and number.

    Args:
        words: The words, each only once, in lower case.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.places = {word: place for place, word in enumerate(words)}

    def __call__(self, text: Tensor) -> Tensor:
        """Turn UTF-8 bytes (N, B) uint8 into 0 or 1 for each word (N, K) float32, on the CPU."""
        held = torch.zeros(len(text), len(self.places))
        for row, caption in zip(held, to_captions(text), strict=True):
            words = split_words(caption.decode(errors="replace"))
            row[[self.places[word] for word in words if word in self.places]] = 1.0
        return held


class Bytes:
    """Caption -> its bytes; what follows the first zero is padding.

    Args:
        length: Tokens per caption, the start included; longer captions are cut.
    """

    count = FIRST + 256

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, text: Tensor) -> Tensor:
        """Turn UTF-8 bytes (N, B) uint8 into numbers of tokens (N, length) int64, on the same device."""
        text = text[:, : self.length - 1].long()
        there = (text != 0).cumprod(dim=1).bool()
        start = torch.full_like(text[:, :1], START)
        return torch.cat([start, torch.where(there, FIRST + text, PADDING)], dim=1)


def make_tokeniser(text_spec: dict[str, Any], max_tokens: int | None) -> Words | Bytes:
    """Return the tokeniser for a data set's captions: of words where it lists them, else of bytes.

    Args:
        text_spec: The data's `cond_spec["text"]`.
        max_tokens: Tokens per caption, the start included; null for the most that the data has: its `max_words`, else
            as many words as its bytes hold with spaces between them; or all bytes.
    """
    num_bytes = int(text_spec["max_length"])
    if words := text_spec.get("words"):
        return Words(words, max_tokens or 1 + text_spec.get("max_words", (num_bytes + 1) // 2))
    return Bytes(min(max_tokens or num_bytes + 1, num_bytes + 1))
