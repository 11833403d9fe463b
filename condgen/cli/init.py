"""`condgen init`: a starter experiment with the user's own images."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from string import Template

from condgen.cli.errors import RunError, UserError
from condgen.cli.parser import OneLineParser

STARTER = Path(__file__).parent / "starter"


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Write the files; refuse if one of them is there."""
    parser = OneLineParser(
        prog="condgen init",
        description="Write a starter experiment with your own images: manifests, a README, a folder for the images. "
        "Nothing that exists is changed.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="DIR", help="where to write it")
    parser.add_argument(
        "--images", metavar="PATH", help="folder, zip or tar of the images, left where it is; default DIR/images"
    )
    options = parser.parse_args(args)
    folder = Path(options.folder)
    images = Path(options.images) if options.images else folder / "images"
    if options.images and not images.exists():
        raise UserError(f"init: no folder or archive {images}")
    files = written(folder, images)
    there = next((path for path in files if path.exists()), None)
    if there is not None:
        raise UserError(f"init: {there} is there already; give another DIR")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not options.images:
            images.mkdir(exist_ok=True)
        for path, text in files.items():
            path.write_text(text)
    except OSError as error:
        raise RunError(f"cannot write {folder}: {error.strerror}") from error
    for path in files:
        print(f"written      {path}")
    where = "" if options.images else f"put images into {images}/<class>, then "
    print(f"next: {where}condgen fit -c {shlex.quote(str(folder / 'train.yaml'))}")
    return 0


def written(folder: Path, images: Path) -> dict[Path, str]:
    """Return the files with their texts."""
    name = folder.resolve().name
    plain = {"title": name, "name": name, "classifier": f"{name}-classifier", "folder": images, "images": images}
    in_yaml = {key: json.dumps(str(value), ensure_ascii=False) for key, value in plain.items()}
    in_readme = plain | {"images": shlex.quote(str(images)), "here": shlex.quote(str(folder))}
    return {
        folder / path.name: Template(path.read_text()).substitute(in_yaml if path.suffix == ".yaml" else in_readme)
        for path in sorted(STARTER.iterdir())
    }
