"""`condgen data check` and `condgen data show`: what a user's files are, and what a model will be shown of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from condgen.cli.errors import RunError, UserError, nearest
from condgen.cli.evaluate import split_overrides
from condgen.cli.parser import OneLineParser

if TYPE_CHECKING:
    from argparse import Namespace
    from collections import Counter
    from collections.abc import Iterable, Sequence

    from condgen.data.survey import Survey

SHOWN = 20
BAR = 40
USAGE = """\
usage: condgen data check PATH          what a folder, zip, tar or table of images holds, and what is wrong with it
       condgen data show CONFIG         a sheet of images with their conditions, as a model is shown them

condgen data check --help, condgen data show --help"""


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Run one of the two."""
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    verbs = {"check": check, "show": show}
    if args[0] not in verbs:
        raise UserError(f"data: no verb {args[0]!r}{nearest(args[0], verbs)}; give check or show")
    return verbs[args[0]](args[1:], trusted)


# ---------------------------------------------------------------------- check


def check(args: list[str], trusted: Sequence[str]) -> int:
    """Say what files are there; return 1 if something is wrong with them."""
    parser = OneLineParser(
        prog="condgen data check",
        description="Read and decode all images of a folder, zip, tar, or of a CSV or JSONL table of files; say what "
        "they are. Exit code 1 if something is wrong: damaged files, or one file in two splits or classes.",
        allow_abbrev=False,
    )
    parser.add_argument("path", metavar="PATH", help="a folder, .zip or .tar file, folder of tar files, .csv or .jsonl")
    parser.add_argument("--all", action="store_true", help=f"name every file, not only the first {SHOWN}")
    columns = parser.add_argument_group("tables")
    columns.add_argument("--root", help="where the files are; default the table's folder")
    columns.add_argument("--file", metavar="COLUMN", help="file names; default file")
    for name in ("label", "caption", "split"):
        columns.add_argument(f"--{name}", metavar="COLUMN")
    options = parser.parse_args(args)

    try:
        found = look(options)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error
    for line in lines_of(found, None if options.all else SHOWN):
        print(line)
    return 1 if found.wrong else 0


def look(options: Namespace) -> Survey:
    """Look at files or at a table."""
    from condgen.data.survey import survey
    from condgen.data.survey_shards import survey_shards
    from condgen.data.survey_table import survey_table
    from condgen.data.table_rows import ENDINGS

    path, say = Path(options.path), f"reading {options.path}"
    if path.suffix.lower() in ENDINGS:
        columns = options.file or "file", options.label, options.caption, options.split
        return survey_table(path, Path(options.root) if options.root else None, *columns, say=say)
    given = next((n for n in ("root", "file", "label", "caption", "split") if getattr(options, n) is not None), None)
    if given is not None:
        raise UserError(f"data check: --{given} is for tables, and {path} is none")
    return survey_shards(path, say) or survey(path, say)


def lines_of(found: Survey, most: int | None) -> Iterable[str]:
    """Write a survey."""
    yield f"{found.path}: {len(found.looks):,} images, {found.length / 1e6:,.1f} MB"
    if found.others:
        yield f"other files  {len(found.others):,}, such as {found.others[0]}"
    if found.splits:
        yield f"splits       {counts(found.splits)}"
    if found.classes:
        yield f"classes      {len(found.classes):,}"
        yield from histogram(found.classes)
    if found.sizes:
        yield f"sizes        {counts({f'{width}x{height}': n for (width, height), n in found.sizes.items()})}"
        yield f"kinds        {counts(found.kinds)}"
    if found.captions:
        yield from about_captions(found.captions)
    for title, lines in (("to look at", found.odd), ("wrong", found.wrong)):
        if lines:
            yield f"{title:<13}{len(lines):,}"
            yield from (f"  {line}" for line in lines[:most])
            if most is not None and len(lines) > most:
                yield f"  and {len(lines) - most:,} more; --all names them"
    yield "nothing is wrong" if not found.wrong else "something is wrong"


def about_captions(texts: list[str]) -> Iterable[str]:
    """Write what captions are like."""
    from condgen.data.survey_table import caption_statistics

    values = caption_statistics(texts)
    yield f"captions     {values['captions']:,}, {values['different']:,} of them different"
    for name in ("words", "bytes"):
        low, middle, high = values[name]
        yield f"  {name:<11}{low} to {high}, median {middle}"
    yield f"  vocabulary {values['vocabulary']:,} different words"


def counts(values: Counter[str] | dict[str, int], most: int = 8) -> str:
    """Write the most frequent values with their counts."""
    ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    more = f", and {len(ranked) - most:,} other" if len(ranked) > most else ""
    return ", ".join(f"{name} {count:,}" for name, count in ranked[:most]) + more


def histogram(classes: Counter[str], most: int = 50) -> Iterable[str]:
    """Draw a bar for each class."""
    width, largest = max(map(len, classes)), max(classes.values())
    for name in sorted(classes)[:most]:
        count = classes[name]
        yield f"  {name:<{width}}  {count:>9,}  {'#' * max(1, round(BAR * count / largest))}"
    if len(classes) > most:
        yield f"  and {len(classes) - most:,} more"


# ---------------------------------------------------------------------- show


def show(args: list[str], trusted: Sequence[str]) -> int:
    """Write a sheet of images with their conditions."""
    words, overrides = split_overrides(args)
    parser = OneLineParser(
        prog="condgen data show",
        description="Write a sheet of images with their conditions, as a model is shown them.",
        epilog="Data configs take further options, such as --data.root FOLDER.",
        allow_abbrev=False,
    )
    parser.add_argument("config", metavar="CONFIG", help="a data config, such as data/mnist.yaml")
    parser.add_argument("--split", default="train", choices=("train", "validation", "test"))
    parser.add_argument("--n", type=int, default=32, help="number of images, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice")
    parser.add_argument("--out", default="data.png", metavar="FILE.png")
    options = parser.parse_args(words)
    if options.n < 1 or not options.out.lower().endswith(".png"):
        wrong = (
            f"--n must be at least 1, got {options.n}" if options.n < 1 else f"--out takes a .png, got {options.out}"
        )
        raise UserError(f"data show: {wrong}")

    import torch

    from condgen.cli.data_config import data_module
    from condgen.pictures import save_png
    from condgen.report.contact_sheet import contact_sheet
    from condgen.seeding import generator

    data = data_module(options.config, overrides, trusted)
    try:
        data.prepare_data()
        images = data.images(options.split)
        chosen = torch.randperm(len(images), generator=generator("show", options.seed))[: options.n]
        sheet = contact_sheet(images.take(chosen), data.cond_spec)
        save_png(sheet, Path(options.out))
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise RunError(str(error)) from error
    kinds = ", ".join(data.cond_spec) or "none"
    print(f"{len(images):,} {options.split} images {data.image_shape}; conditions: {kinds}\nsheet        {options.out}")
    return 0
