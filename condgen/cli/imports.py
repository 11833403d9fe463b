"""What a file that may come from others is allowed to import."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jsonargparse import set_parsing_settings
from jsonargparse._common import parsing_settings

from condgen.cli.errors import UserError


@contextmanager
def imports_from(packages: Sequence[str], file: object) -> Iterator[None]:
    """Let the parser import from these packages alone; its settings, which are those of the process, are put back.

    jsonargparse, up to 4.53, can add to its settings in public, and neither read them nor take back what was added.

    Raises:
        UserError: If the block fails because `file` names a class of another package.
    """
    before = dict(parsing_settings)
    try:
        set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=list(packages))
        yield
    except Exception as error:  # the parser, and what it is called by, each raise their own
        denied = re.search(r"Importing '([^']+)' is not allowed", f"{error} {error.__cause__}")
        if denied is None:
            raise
        package = denied[1].partition(".")[0]
        raise UserError(
            f"{file} uses {denied[1]}, which is outside {', '.join(packages)}; if you trust it: --trust {package}"
        ) from error
    finally:
        parsing_settings.update(before)
