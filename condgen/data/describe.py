"""Conditions in words."""

from __future__ import annotations

from condgen.types import Condition, CondSpec


def words(cond: Condition, count: int, cond_spec: CondSpec) -> list[list[str]]:
    """Write the conditions of `count` images that are no pictures, a list of lines for each image."""
    out: list[list[str]] = [[] for _ in range(count)]
    if "label" in cond:
        names = cond_spec["label"]["names"]
        for lines, label in zip(out, cond["label"].tolist(), strict=True):
            lines.append(str(names[label]))
    if "attributes" in cond:
        names = cond_spec["attributes"]["names"]
        for lines, row in zip(out, cond["attributes"].tolist(), strict=True):
            lines += [f"{name} {value:.3g}" for name, value in zip(names, row, strict=True)]
    if "text" in cond:
        for lines, row in zip(out, cond["text"], strict=True):
            lines.append(bytes(row.tolist()).rstrip(b"\0").decode(errors="replace"))
    return out
