"""Conditions from the columns of a table: labels, numbers and captions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condgen.data.table_rows import Table, one_of

log = logging.getLogger("condgen")
FLOAT_MAX = torch.finfo(torch.float32).max
BOOLEANS = {"true": 1.0, "false": 0.0}


def read_each(table: Table, column: str, read: Callable[[Any], Any]) -> list[Any]:
    """Read all values of a column.

    Raises:
        ValueError: If one cannot be read; its line is named.
    """
    out = []
    for row, value in enumerate(table.columns[column]):
        try:
            out.append(read(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise table.error(row, f"{column!r} {error}") from error
    return out


def word(value: Any) -> str:
    """Read a name, which may be a whole number."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"must be text or a whole number, got {value!r}")
    return str(value)


def number(value: Any) -> float:
    """Read a number; true is 1 and false is 0."""
    text = str(value).strip().lower()
    try:
        found = BOOLEANS[text] if text in BOOLEANS else float(text)
    except ValueError:
        found = float("nan")
    if not abs(found) <= FLOAT_MAX:  # NaN fails the comparison
        raise ValueError(f"must be a finite number, true or false, got {value!r}")
    return found


def caption(value: Any) -> str:
    """Read a text of at least one character that UTF-8 can hold, without zero bytes, which end a text."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be a text, got {value!r}")
    value.encode()
    if "\0" in value:
        raise ValueError("must not hold a zero character")
    return value


def captions(value: Any) -> list[str]:
    """Read a text, or a list of some."""
    if isinstance(value, list) and value:
        return [caption(item) for item in value]
    return [caption(value)]


def read_label(table: Table, column: str, class_names: Sequence[str] | None) -> tuple[Tensor, list[str]]:
    """Return the class (N,) int64 of each row, and the names of the classes: those found, in order, by default.

    Raises:
        ValueError: If a row's class is none of those named.
    """
    words = read_each(table, column, word)
    names = list(class_names or sorted(set(words), key=in_order))
    numbers = {name: place for place, name in enumerate(names)}
    for row, name in enumerate(words):
        if name not in numbers:
            raise table.error(row, f"{column!r} {name!r} is not in class_names; {one_of(name, names)}")
    return torch.tensor([numbers[name] for name in words]), names


def in_order(name: str) -> tuple[int, int, str]:
    """Sort numbers by size, and other names behind them."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def read_attributes(table: Table, columns: Sequence[str]) -> Tensor:
    """Return numbers (N, A) float32.

    Raises:
        ValueError: If one is no finite number, true or false.
    """
    return torch.tensor([read_each(table, column, number) for column in columns], dtype=torch.float32).T.contiguous()


def one_per_caption(table: Table, column: str) -> Table:
    """Repeat rows that hold a list of captions, so that each row has one.

    Raises:
        ValueError: If a row has none.
    """
    lists = read_each(table, column, captions)
    rows = [row for row, found in enumerate(lists) for _ in found]
    return table.take(rows).with_column(column, [text for found in lists for text in found])


def to_bytes(texts: Sequence[str], max_length: int, name: str) -> Tensor:
    """Return UTF-8 bytes (N, max_length) uint8, padded with zeros; longer texts are cut between two characters.

    Args:
        texts: The texts.
        max_length: Bytes of a row.
        name: What a warning calls their source.
    """
    out = np.zeros((len(texts), max_length), np.uint8)
    longest = longer = 0
    for row, text in enumerate(texts):
        content = text.encode()
        if len(content) > max_length:
            longest, longer = max(longest, len(content)), longer + 1
            content = content[:max_length].decode(errors="ignore").encode()
        out[row, : len(content)] = np.frombuffer(content, np.uint8)
    if longer:
        cut = f"{longer:,} of {len(texts):,} captions of {name} are cut to max_length {max_length} bytes"
        log.warning("%s; the longest has %d", cut, longest)
    return torch.from_numpy(out)
