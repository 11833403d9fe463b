"""Where what can be made again is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """Return the folder of condgen's caches: CONDGEN_CACHE, or `~/.cache/condgen`; it may not exist yet."""
    return Path(os.environ.get("CONDGEN_CACHE") or Path.home() / ".cache" / "condgen")
