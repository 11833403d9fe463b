"""What a table of images and conditions is, and what is wrong with it and the files that it names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from condgen.data.image_table import files_by_name
from condgen.data.survey import Survey, compare_copies, judge, look_at
from condgen.data.table_conditions import captions, word
from condgen.data.table_rows import Table, read_table

PLAIN = "\0"
"""Stands for the split and the class of rows without."""


def survey_table(
    path: Path,
    root: Path | None,
    file: str,
    label: str | None,
    caption: str | None,
    split: str | None,
    say: str | None = None,
) -> Survey:
    """Look at the rows of a table, and at the files that they name.

    Args:
        path: The table.
        root: Where the files are; the table's folder by default.
        file: Column of file names.
        label: Column of classes.
        caption: Column of captions, or of lists of them.
        split: Column of splits.
        say: What a progress bar calls the work; null for none.

    Raises:
        ValueError: If the table cannot be read, or lacks a column.
    """
    out, table = Survey(path), read_table(path, [name for name in (file, label, caption, split) if name])
    store, places = files_by_name(root or path.parent)
    names = [word_of(out, table, row, file).removeprefix("./") for row in range(len(table))]
    out.wrong += [
        str(table.error(row, f"no image file {name!r} in {store.root}"))
        for row, name in enumerate(names)
        if name and name not in places
    ]
    used = sorted({places[name] for name in names if name in places})
    spare = sorted({store.names[place] for place in places.values()} - {store.names[place] for place in used})
    out.odd += [f"{name} is in no row" for name in spare]
    out.looks = look_at(store, used, say)
    words = {name: [word_of(out, table, row, name) for row in range(len(table))] for name in (label, split) if name}
    out.classes, out.splits = (Counter(words[name]) if name else Counter() for name in (label, split))
    if caption:
        out.captions = [text for row in range(len(table)) for text in captions_of(out, table, row, caption)]
    judge(out)
    none = [PLAIN] * len(table)
    rows = zip(names, words.get(split or "", none), words.get(label or "", none), strict=True)
    compare_copies(out, {store.names[places[name]]: (part, kind) for name, part, kind in rows if name in places})
    return out


def word_of(out: Survey, table: Table, row: int, column: str) -> str:
    """Read a word; say what is wrong with one that is none."""
    try:
        return word(table.columns[column][row])
    except ValueError as error:
        out.wrong.append(str(table.error(row, f"{column!r} {error}")))
        return ""


def captions_of(out: Survey, table: Table, row: int, column: str) -> list[str]:
    """Read the captions of a row; say what is wrong with those that are none."""
    try:
        return captions(table.columns[column][row])
    except ValueError as error:
        out.wrong.append(str(table.error(row, f"{column!r} {error}")))
        return []


def caption_statistics(texts: list[str]) -> dict[str, Any]:
    """Count captions, words and bytes."""
    words = [text.lower().split() for text in texts]
    lengths, sizes = sorted(map(len, words)), sorted(len(text.encode()) for text in texts)
    middle = len(texts) // 2
    return {
        "captions": len(texts),
        "different": len(set(texts)),
        "words": [lengths[0], lengths[middle], lengths[-1]],
        "bytes": [sizes[0], sizes[middle], sizes[-1]],
        "vocabulary": len({word for row in words for word in row}),
    }
