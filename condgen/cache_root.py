"""Where what can be made again is kept between runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from condgen.whole import whole_file


def cache_root() -> Path:
    """Return the folder of condgen's caches: CONDGEN_CACHE, or `~/.cache/condgen`; it may not exist yet."""
    return Path(os.environ.get("CONDGEN_CACHE") or Path.home() / ".cache" / "condgen")


def kept(kind: str, identity: object, make: Callable[[], Any]) -> Any:
    """Return values as JSON has them: from the cache if they have been made before, made and kept otherwise.

    Args:
        kind: Folder of the cache.
        identity: Whatever decides the values; its `repr` tells it.
        make: Makes the values, of what JSON knows.
    """
    key = blake2b(repr(identity).encode(errors="surrogateescape"), digest_size=16).hexdigest()
    path = cache_root() / kind / f"{key}.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        content = json.dumps(make())
    try:
        with whole_file(path) as file:
            file.write(content.encode())
    except OSError:  # it will be made again
        pass
    return json.loads(content)
