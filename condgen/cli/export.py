"""`condgen export`: a model to share, as one safetensors file or as a folder with its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condgen.cli.errors import RUN_OR_FILE, UserError
from condgen.cli.parser import OneLineParser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from condgen.models import GenerativeModel

COLUMNS, ROWS = 8, 16


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Load, and write."""
    parser = OneLineParser(
        prog="condgen export",
        description="Write the weights that sample, with all that is needed to load them, as safetensors.",
        allow_abbrev=False,
    )
    parser.add_argument("ckpt", metavar="RUN_OR_FILE", help=RUN_OR_FILE)
    parser.add_argument(
        "out",
        metavar="FOLDER_OR_FILE",
        help="FILE.safetensors, or a new folder: config.json, model.safetensors, samples.png and a model card, as the "
        "Hugging Face hub lays models out",
    )
    options = parser.parse_args(args)

    from condgen.checkpoints import CheckpointError, build_model, find_checkpoint, read_checkpoint
    from condgen.checkpoints.export import SUFFIX, card_of, write_export
    from condgen.report.model_card import training_run

    try:
        file = find_checkpoint(options.ckpt)
        content = read_checkpoint(file)
        model = build_model(content, file, trusted=trusted)
    except CheckpointError as error:
        raise UserError(str(error)) from error
    training = content.get("callbacks", {}).get("TrainingTime")
    card, out = card_of(model, content["condgen"]["class_path"], training), Path(options.out)
    try:
        if out.suffix == SUFFIX:
            write_export(model, card, out)
            print(f"exported     {out}")
        else:
            write_folder(model, card, training_run(file), out)
    except OSError as error:
        raise UserError(str(error)) from error
    return 0


def write_folder(model: GenerativeModel, card: dict[str, Any], trained: Path | None, out: Path) -> None:
    """Write a folder, whole or not at all."""
    from condgen.checkpoints.export import CONFIG, WEIGHTS, write_export
    from condgen.cli.info import about
    from condgen.report.model_card import PICTURE, last_grid, model_card, scored_run
    from condgen.whole import whole_folder

    scored = scored_run(trained, card["weights_sha256"])
    picture = drawn(model) or last_grid(trained)
    text = model_card(type(model).__name__, list(about(model)), model.condition_keys, scored, pictured=bool(picture))
    with whole_folder(out) as folder:
        write_export(model, card, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")
        (folder / "README.md").write_text(text, encoding="utf-8")
        if picture:
            (folder / PICTURE).write_bytes(picture)
    for path in sorted(out.iterdir()):
        print(f"exported     {path}")


def drawn(model: GenerativeModel) -> bytes | None:
    """Draw a grid of samples, a row per class, as a PNG; nothing where a condition other than the class is needed."""
    from io import BytesIO

    from condgen.callbacks.sample_grid import grid_conditions
    from condgen.pictures import grid, to_pil
    from condgen.pixels import to_uint8

    if set(model.condition_keys) - {"label"}:
        return None
    cond, seeds = grid_conditions(model, range(COLUMNS), ROWS)
    file = BytesIO()
    to_pil(grid(to_uint8(model.sample(cond, seeds=seeds)), COLUMNS)).save(file, format="PNG")
    return file.getvalue()
