"""Code in pages is read from its file when the page is built, in the place of a line that is but a link to it.

`[condgen.objectives.elbo.elbo](../../condgen/objectives/elbo.py)` shows a class, function or method,
`[my_data.py](../examples/my_data.py)` a file of `docs/examples`. Where pages are not built the link leads there.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from textwrap import dedent

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

REPO = Path(__file__).resolve().parents[2]
EXAMPLES = REPO / "docs" / "examples"
SOURCE = re.compile(r"^\[(condgen\.[\w.]+)\]\([./]+condgen/[\w/]+\.py\)$", re.MULTILINE)
FILE = re.compile(r"^\[([\w.]+)\]\([./]*examples/\1\)$", re.MULTILINE)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put code in the place of links."""
    markdown = SOURCE.sub(lambda found: definition(found[1]), markdown)
    return FILE.sub(lambda found: fenced((EXAMPLES / found[1]).read_text().rstrip(), found[1]), markdown)


def fenced(code: str, title: str) -> str:
    """Return a block of code."""
    return f'```{title.rpartition(".")[2].replace("py", "python")} title="{title}"\n{code}\n```'


def definition(name: str) -> str:
    """Return the code of a class, function or method, titled by its file.

    Raises:
        PluginError: If there is none of that name.
    """
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        path = REPO.joinpath(*parts[:length]).with_suffix(".py")
        if path.is_file():
            text = path.read_text()
            code = code_of(text, ast.parse(text), parts[length:])
            if code is not None:
                return fenced(code, str(path.relative_to(REPO)))
    raise PluginError(f"no code {name}")


def code_of(text: str, node: ast.Module | ast.stmt, names: list[str]) -> str | None:
    """Return the code of what is named inside a node."""
    if not names:
        lines = text.splitlines()[first_line(node) - 1 : node.end_lineno]
        return dedent("\n".join(lines))
    for child in getattr(node, "body", []):
        if getattr(child, "name", None) == names[0]:
            return code_of(text, child, names[1:])
    return None


def first_line(node: ast.stmt) -> int:
    """Return the line at which a definition begins, decorators included."""
    return min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])
