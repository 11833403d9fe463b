"""Rows of figures, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from condgen.whole import whole_file

Row = Mapping[str, Any]


def markdown(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """Return a table of the columns that any row has.

    Args:
        rows: Rows of plain values.
        columns: Key of each column in the rows, and its title.
    """
    there = {key: title for key, title in columns.items() if any(row.get(key) is not None for row in rows)}
    numeric = {key: any(isinstance(row.get(key), int | float | list) for row in rows) for key in there}
    lines = [
        "| " + " | ".join(there.values()) + " |",
        "| " + " | ".join("---:" if numeric[key] else "---" for key in there) + " |",
    ]
    lines += ["| " + " | ".join(cell(row.get(key)) for key in there) + " |" for row in rows]
    return "\n".join(lines)


def cell(value: Any) -> str:
    """Write a value: numbers with three digits that count, a range with a dash, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " to ".join(map(cell, value))
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 or isinstance(value, int) else f"{value:.3g}"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole."""
    with whole_file(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
