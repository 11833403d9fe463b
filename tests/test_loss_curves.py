"""Each model learns as it did when its losses were written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loss_curves import BATCHES, BATCHES_64, FOLDER, MODELS, Curves, doubles, stack, train

TOLERANCE = 1e-6


def record(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return read


def differences(found: Curves, kept: Curves, tolerance: float) -> list[str]:
    """Say of each loss where it first differs by more than a tolerance, relative to values above 1."""
    assert found.keys() == kept.keys()
    out = []
    for name, values in kept.items():
        assert len(found[name]) == len(values), name
        for batch, (new, old) in enumerate(zip(found[name], values, strict=True), start=1):
            if not abs(new - old) <= tolerance * max(1.0, abs(old)):
                out.append(f"{name} of batch {batch} is {new!r}, was {old!r}")
                break
    return out


@pytest.mark.parametrize("name", MODELS)
def test_a_model_learns_as_it_did(name: str, tmp_path: Path) -> None:
    kept = record(name)
    if kept["stack"] == stack():
        assert not differences(train(name, BATCHES, tmp_path), kept["float32"], 0.0)
    else:
        with doubles():
            assert not differences(train(name, BATCHES_64, tmp_path), kept["float64"], TOLERANCE)


@pytest.mark.parametrize("name", ["cgan", "ddpm"])
def test_the_first_batches_in_float64_are_those_of_any_processor(name: str, tmp_path: Path) -> None:
    """Also where the digits of this one are compared."""
    with doubles():
        assert not differences(train(name, BATCHES_64, tmp_path), record(name)["float64"], TOLERANCE)


def test_every_model_has_a_record_of_its_first_batches() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(MODELS)
    for name in MODELS:
        kept = record(name)
        assert set(kept["float32"]) == set(kept["float64"])
        for part, batches in (("float32", BATCHES), ("float64", BATCHES_64)):
            assert max(map(len, kept[part].values())) == batches, name


def test_a_difference_is_told() -> None:
    assert differences({"a": [1.0, 2.0]}, {"a": [1.0, 2.0]}, 0.0) == []
    assert differences({"a": [1.0, 2.0, 3.0]}, {"a": [1.0, 2.5, 3.5]}, 0.0) == ["a of batch 2 is 2.0, was 2.5"]
    assert differences({"a": [float("nan")]}, {"a": [1.0]}, TOLERANCE)
    assert not differences({"a": [1e-9]}, {"a": [0.0]}, TOLERANCE)
