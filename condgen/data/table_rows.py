"""Rows of a CSV, TSV or JSONL file, with the line that each begins on, so that errors can name it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any

ENDINGS = {".csv": ",", ".tsv": "\t", ".jsonl": "", ".ndjson": ""}
"""Endings of tables, and what stands between two values."""


@dataclass(frozen=True)
class Table:
    """Some columns of a table.

    Args:
        path: The file.
        lines: The line that each row begins on, as editors count them, from 1.
        columns: Values by column: text, where the file is a CSV or TSV; what JSON says, where it is a JSONL file.
    """

    path: Path
    lines: list[int]
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lines)

    def error(self, row: int, what: str) -> ValueError:
        """Say what is wrong with a row."""
        return at(self.path, self.lines[row], what)

    def take(self, rows: Sequence[int]) -> Table:
        """Return some rows."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return replace(self, lines=[self.lines[row] for row in rows], columns=columns)

    def with_column(self, name: str, values: list[Any]) -> Table:
        """Return the table with other values in one column."""
        return replace(self, columns={**self.columns, name: values})


def at(path: Path, line: int, what: str) -> ValueError:
    """Say what is wrong in a line."""
    return ValueError(f"{path} line {line}: {what}")


def read_table(path: Path, wanted: Sequence[str]) -> Table:
    """Read some columns of a `.csv` or `.tsv` file whose first row names them, or of a `.jsonl` file of objects.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is no such file, holds no rows, or lacks a column; the line is named.
    """
    delimiter = ENDINGS.get(path.suffix.lower())
    if delimiter is None:
        raise ValueError(f"{path} ends in {path.suffix or 'nothing'}; tables end in {', '.join(ENDINGS)}")
    text = read_text(path)
    rows = values_of_objects(path, text, wanted) if not delimiter else values_of_rows(path, text, delimiter, wanted)
    lines, values = [], []
    for line, row in rows:
        lines.append(line)
        values.append(row)
    if not lines:
        raise ValueError(f"{path} holds no rows")
    return Table(path, lines, {name: [row[place] for row in values] for place, name in enumerate(wanted)})


def read_text(path: Path) -> str:
    """Read a file of UTF-8.

    Raises:
        ValueError: If it is none; the first wrong byte is named.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path.resolve()}; set data.table")
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"byte {content[error.start]:#04x} at position {error.start:,} is not UTF-8; save the table as UTF-8"
        raise at(path, content.count(b"\n", 0, error.start) + 1, place) from error


def values_of_rows(path: Path, text: str, delimiter: str, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield line and wanted values of each row below the head; empty lines are left out."""
    rows = csv_rows(path, text, delimiter)
    line, head = next(rows, (1, []))
    for place, name in enumerate(head):
        if name in head[:place]:
            raise at(path, line, f"column {name!r} appears twice")
    places = [head.index(name) for name in wanted if has(path, line, name, head)]
    for line, row in rows:
        if len(row) != len(head):
            quote = f"; text that holds {delimiter!r} must be in double quotes" if len(row) > len(head) else ""
            raise at(path, line, f"{len(row)} values, where the head names {len(head)} columns{quote}")
        yield line, [row[place] for place in places]


def csv_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line that each row begins on, and its values."""
    reader, line = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True), 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise at(path, line, f"malformed row: {error}") from error


def values_of_objects(path: Path, text: str, wanted: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    """Yield line and wanted values of each object; empty lines are left out."""
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            record = json_object(path, line, content)
            yield line, [record[name] for name in wanted if has(path, line, name, list(record))]


def json_object(path: Path, line: int, content: str) -> dict[str, Any]:
    """Read one object.

    Raises:
        ValueError: If it is none, or names a key twice.
    """
    try:
        record = json.loads(content, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise at(path, line, f"malformed JSON: {error}") from error
    if not isinstance(record, dict):
        raise at(path, line, f'must be a JSON object such as {{"file": "1.jpg"}}, got {content.strip()[:40]}')
    return record


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of pairs, each key once."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for place, name in enumerate(names) if name in names[:place])!r} appears twice")
    return record


def has(path: Path, line: int, name: str, known: Sequence[str]) -> bool:
    """Tell that a column is there.

    Raises:
        ValueError: If it is not.
    """
    if name in known:
        return True
    raise at(path, line, f"no column {name!r}; {one_of(name, known)}")


def one_of(name: str, known: Sequence[str], shown: int = 12) -> str:
    """Say what a name that is not known could have been."""
    nearest = get_close_matches(name, known, n=1, cutoff=0.5)
    there = ", ".join(known[:shown]) + ", …" * (len(known) > shown)
    return f"{f'did you mean {nearest[0]!r}? ' if nearest else ''}there {'are' if len(known) != 1 else 'is'} {there}"
