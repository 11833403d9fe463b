"""The runs of experiments/soak, which stop and go on, for tests."""

from __future__ import annotations

import sys

from conftest import REPO

sys.path.insert(0, str(REPO))

from experiments.soak.runs import (
    CGAN,
    FAMILIES,
    SMALL,
    batches_seen,
    check_same,
    equal,
    fit,
    in_child,
    pictures,
    resume,
    rows,
    trained,
)

__all__ = [
    "CGAN",
    "FAMILIES",
    "SMALL",
    "batches_seen",
    "check_same",
    "equal",
    "fit",
    "in_child",
    "pictures",
    "resume",
    "rows",
    "trained",
]
