"""Whether scores were measured in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from condgen.report.runs import Run

COMPARED = frozenset(
    {
        "model",
        "ema",
        "sampler",
        "checkpoint",
        "weights_sha256",
        "run_seed",
        "images_seen",
        "samples",
        "samples_fingerprint",
    }
)
"""Fields that say what was scored: the very things that a comparison is about."""
DRAWN = frozenset({"seeds", "classes", "conditions", "conditions_of"})
"""Fields that say what was drawn from a model; images that came from files have none."""
INCIDENTAL = frozenset({"processes", "device", "threads", "torch", "seconds"})
"""Fields that scores depend on by rounding alone, or not at all."""
REQUIRED = ("data", "split", "n_real", "n_samples", "extractor.sha256", "quantisation", "resize")
"""Fields whose absence from one side is a difference. Any other belongs to a score that was not measured there."""
ABSENT = "absent"


class Difference(NamedTuple):
    """A field of the protocol, and its value in each run."""

    field: str
    values: tuple[Any, ...]


def unlike(protocols: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """List the fields that must be equal for scores to be comparable, and are not.

    Fields that this version does not know count, if more than one run has them.
    """
    flat = [dict(how_scored(protocol)) for protocol in protocols]
    found = []
    for field in dict.fromkeys(["data", *(key for card in flat for key in card)]):
        values = tuple(card.get(field, ABSENT) for card in flat)
        known = [value for value in values if field in REQUIRED or value != ABSENT]
        if any(comparable(field, value) != comparable(field, known[0]) for value in known):
            found.append(Difference(field, values))
    return found


def how_scored(protocol: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields that say how scores were measured; an extractor is its name and its hash."""
    silent = COMPARED | INCIDENTAL if protocol.get("model") else COMPARED | INCIDENTAL | DRAWN
    for field, value in flatten(protocol):
        top, _, last = field.partition(".")
        if top in silent or last in INCIDENTAL:
            continue
        if top != "extractor" or last in ("name", "sha256", ""):
            yield field, value


def flatten(card: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested fields by dotted names."""
    for key, value in card.items():
        name = prefix if key == "init_args" else f"{prefix}.{key}".strip(".")
        if isinstance(value, Mapping) and value:
            yield from flatten(value, name)
        else:
            yield name, value


def comparable(field: str, value: object) -> object:
    """Reduce a value to what must be equal: of condgen's version, the part that a change of scores would raise."""
    if field != "condgen":
        return value
    parts = str(value).split(".")
    return parts[:2] if parts[0] == "0" else parts[:1]


def first_difference(runs: Sequence[Run], differences: Sequence[Difference]) -> str:
    """Say in one line which field differs first, and between which runs."""
    field, values = differences[0]
    known = [i for i, value in enumerate(values) if field in REQUIRED or value != ABSENT]
    one = known[0]
    other = next(i for i in known if comparable(field, values[i]) != comparable(field, values[one]))
    count = len(differences) - 1
    more = f", and {count} more field{'s' if count > 1 else ''}" if count else ""
    return (
        f"runs differ in protocol: {field} is {show(values[one])} in {runs[one].given} and {show(values[other])} in "
        f"{runs[other].given}{more}"
    )


def show(value: object) -> str:
    """Write a value of a protocol: yes or no, a range of seeds, a hash by its beginning, and a number as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, list):
        return "–".join(str(item) for item in value) if len(value) == 2 else ", ".join(str(item) for item in value)
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 and set(text) <= set("0123456789abcdef") else text
