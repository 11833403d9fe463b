"""Downloads that are there whole and checked, or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from hashlib import new as new_hash
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from condgen.heartbeat import heart
from condgen.whole import whole_file

TIMEOUT = 30.0
"""Seconds without a byte."""
PAUSE = 0.5
"""Seconds before the second try, doubled before each later one."""
BLOCK = 1 << 20
SCHEMES = ("http", "https", "file")
BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
LABELS = {"sha256": "SHA-256", "md5": "MD5"}


class _FailedError(Exception):
    """Why nothing, or not all, came; what may pass is worth another try."""

    def __init__(self, reason: object, *, passing: bool = True) -> None:
        super().__init__(" ".join(str(reason).split()))
        self.passing = passing


def download(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    md5: str | None = None,
    retries: int = 3,
) -> Path:
    """Download a file, over one that is there, and let it be seen only when it is whole and checked.

    Args:
        url: Its address: http, https or file.
        path: Where it shall be; folders are made.
        size: Bytes that it must have.
        sha256: Hash that it must have.
        md5: The same, where no better one is published.
        retries: Tries after the first, for what may pass: no answer, a broken transfer, a busy server.

    Raises:
        OSError: If it cannot be had, or cannot be written.
        ValueError: If what came is not the file that is due.
    """
    due = {name: value.lower() for name, value in (("sha256", sha256), ("md5", md5)) if value is not None}
    if not due:
        raise ValueError(f"no hash is given for {url}; what is not checked is not downloaded")
    if (scheme := urlsplit(url).scheme) not in SCHEMES:
        raise ValueError(f"{url} begins with {scheme or 'no scheme'}; an address begins with {', '.join(SCHEMES)}")
    for left in range(retries, -1, -1):
        try:
            return _try(url, path, size, due)
        except _FailedError as error:
            if not left or not error.passing:
                tries = f" ({retries + 1} tries)" if error.passing and retries else ""
                raise OSError(f"{url} cannot be downloaded: {error}{tries}") from error
        time.sleep(PAUSE * 2 ** (retries - left))
    raise ValueError(f"retries must be at least 0, got {retries}")


def _try(url: str, path: Path, size: int | None, due: dict[str, str]) -> Path:
    """Write what comes, and check it; an OSError is one of writing."""
    hashes = {kind: new_hash(kind, usedforsecurity=False) for kind in due}
    other, count = f"{url} is not the {path.name} that is due", 0
    with whole_file(path) as file:
        for block in _blocks(url):
            count += len(block)
            if size is not None and count > size:
                raise ValueError(f"{other}: it has more than {size:,} bytes")
            file.write(block)
            for running in hashes.values():
                running.update(block)
        if size is not None and count < size:
            raise ValueError(f"{other}: it has {count:,} bytes, not {size:,}")
        for kind, running in hashes.items():
            if (found := running.hexdigest()) != due[kind]:
                raise ValueError(f"{other}: its {LABELS[kind]} is {found}, not {due[kind]}")
    return path


def _blocks(url: str) -> Iterator[bytes]:
    """Give what the address gives; every failure of the other side is a `_FailedError`."""
    count = 0
    try:
        with urlopen(url, timeout=TIMEOUT) as source:
            promised = source.headers.get("Content-Length") or ""
            while block := source.read(BLOCK):
                heart.beat()
                count += len(block)
                yield block
    except HTTPError as error:
        passing = error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code in BUSY
        raise _FailedError(f"HTTP {error.code} {error.reason}", passing=passing) from error
    except TimeoutError as error:
        raise _FailedError(f"nothing came for {TIMEOUT:g} seconds") from error
    except URLError as error:
        raise _FailedError(error.reason, passing=not isinstance(error.reason, FileNotFoundError)) from error
    except IncompleteRead as error:
        raise _FailedError(f"it broke off after {count + len(error.partial):,} bytes") from error
    except (OSError, HTTPException) as error:
        raise _FailedError(f"{str(error) or type(error).__name__} after {count:,} bytes") from error
    if promised.isdigit() and count < int(promised):
        raise _FailedError(f"it broke off after {count:,} of {int(promised):,} bytes")
