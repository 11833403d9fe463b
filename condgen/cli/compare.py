"""`condgen compare`: runs side by side in one HTML page, and their scores in a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condgen.cli.errors import RunError, UserError, nearest
from condgen.cli.parser import OneLineParser
from condgen.whole import whole_file

if TYPE_CHECKING:
    from condgen.data import ImageDataModule
    from condgen.metrics import Extractor

MARK = "<!-- condgen compare -->"


def parser() -> OneLineParser:
    """Return the verb's parser."""
    out = OneLineParser(
        prog="condgen compare",
        description="Compare scored runs: one HTML page that works offline, and a Markdown table beside it.",
        allow_abbrev=False,
    )
    out.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder, runs/NAME for its latest, or metrics.json")
    out.add_argument("--out", default="compare.html", metavar="FILE.html", help="the page; the table is FILE.md")
    out.add_argument("--force", action="store_true", help="compare unlike protocols, and mark what differs")
    return out


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Read, check, draw and write."""
    options = parser().parse_args(args)
    page, table = outputs(options.out)
    for given in options.runs:
        if not Path(given).exists():
            beside = Path(given).parent
            known = [str(path) for path in sorted(beside.iterdir())] if beside.is_dir() else []
            raise UserError(f"no run {given}{nearest(given, known)}")

    from rich.console import Console

    from condgen.report import compare, first_difference, read_runs, to_html, to_markdown_file, unlike
    from condgen.report.configured import Builders
    from condgen.report.tables import to_terminal

    try:
        runs = read_runs(options.runs)
    except ValueError as error:
        raise UserError(str(error)) from error
    differences = unlike([item.protocol for item in runs])
    if differences and not options.force:
        raise UserError(f"{first_difference(runs, differences)} (--force compares them anyway)")
    build = Builders(partial(data_of, trusted=trusted), partial(extractor_of, trusted=trusted))
    try:
        comparison = compare(runs, trusted, build, say=lambda what: print(f"{what} ...", flush=True))
    except (ValueError, OSError) as error:
        raise RunError(f"{error} (set CONDGEN_TRACEBACK=1 to see where)") from error
    write(page, to_html(comparison))
    write(table, to_markdown_file(comparison))
    title = "scores, not comparable: protocols differ" if differences else "scores"
    console = Console()
    console.print(to_terminal(title, "score", comparison.score_columns, comparison.scores, console.width))
    console.print(to_terminal("cost", "cost", comparison.names, comparison.costs, console.width))
    for line, names in comparison.warnings.items():
        print(f"warning: {line} ({', '.join(names)})")
    for difference in differences:
        print(f"warning: the protocols differ in {difference.field}")
    print(f"report       {page}\ntable        {table}")
    return 0


def data_of(card: dict[str, Any], trusted: Sequence[str]) -> ImageDataModule:
    """Build the data module that a run's config names.

    Raises:
        ValueError: If it cannot be built.
    """
    from condgen.cli.data_config import built
    from condgen.data import ImageDataModule

    try:
        module: ImageDataModule = built(ImageDataModule, "data", [card], [], trusted)
    except UserError as error:
        raise ValueError(str(error)) from error
    return module


def extractor_of(card: dict[str, Any], origin: str, trusted: Sequence[str]) -> Extractor:
    """Build an extractor that a run's config names.

    Raises:
        ValueError: If it cannot be built.
    """
    from condgen.cli.extractor_config import built

    try:
        return built(card, origin, trusted)
    except UserError as error:
        raise ValueError(str(error)) from error


def outputs(out: str) -> tuple[Path, Path]:
    """Return where the page and the table go; a Markdown file of another kind is never replaced."""
    page = Path(out)
    if page.suffix.lower() != ".html":
        raise UserError(f"--out takes a .html file, got {out}")
    table = page.with_suffix(".md")
    if table.exists() and not (table.is_file() and table.read_text(errors="replace").startswith(MARK)):
        raise UserError(f"{table} was not written by condgen compare; give --out another name")
    return page, table


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all, making its folder if needed."""
    try:
        with whole_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise UserError(str(error)) from error
