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
NO_CONDITION = "condgen.conditions.NoCondition"
TEXTS = {
    "by_class": (" by class", ""),
    "kind": ("in class folders, <class>/*.jpg, or a zip or tar file of such", "without classes"),
    "encoder": ("", f"\n    encoder: {NO_CONDITION}"),
    "no_condition": ("", f" --model.encoder {NO_CONDITION} --model.sampler.guidance 1"),
    "images_are": (
        "Put images into `$folder`, a subfolder for each class: `cat/1.jpg`, `dog/1.jpg`. A few hundred of each are a\n"
        "   start. Without classes, one subfolder holds them all.",
        "The images are those of `$folder`, which has no folders of classes. A few hundred are a start.",
    ),
    "score": (
        "Score. Distances need features; a classifier of your own classes gives them, and tells obedience to the label."
        "\n\n   ```\n   condgen fit -c $here/classifier.yaml\n   condgen test runs/$name --evaluation.extractor "
        "condgen.metrics.ClassifierExtractor --evaluation.extractor.path "
        "runs/$classifier/<stamp>/classifier.safetensors\n   ```",
        "Score. Distances need features. Without classes to train a classifier on, they are Inception's, from a file\n"
        "   of its published weights:\n\n   ```\n   condgen test runs/$name --evaluation.extractor "
        "condgen.metrics.InceptionExtractor --evaluation.extractor.weights_path FILE\n   ```",
    ),
}
"""What the files say of images with classes, and without."""


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
    files = written(folder, images, flat=bool(options.images) and has_no_classes(images))
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


def has_no_classes(images: Path) -> bool:
    """Tell whether images lie in no folders of classes; what cannot be read is told when it is used."""
    from condgen.data import ImageFolder

    try:
        return "label" not in ImageFolder(str(images), image_size=32).cond_spec
    except (ValueError, OSError):
        return False


def written(folder: Path, images: Path, *, flat: bool) -> dict[Path, str]:
    """Return the files with their texts; images that are `flat` have no classes."""
    name = folder.resolve().name
    plain = {"title": name, "name": name, "classifier": f"{name}-classifier", "folder": images, "images": images}
    texts = {key: text[flat] for key, text in TEXTS.items()}
    in_yaml = {key: json.dumps(str(value), ensure_ascii=False) for key, value in plain.items()} | texts
    in_readme = plain | {"images": shlex.quote(str(images)), "here": shlex.quote(str(folder))}
    in_readme |= {key: Template(text).substitute(in_readme) for key, text in texts.items()}
    return {
        folder / path.name: Template(path.read_text()).substitute(in_yaml if path.suffix == ".yaml" else in_readme)
        for path in sorted(STARTER.iterdir())
        if not (flat and path.name == "classifier.yaml")
    }
