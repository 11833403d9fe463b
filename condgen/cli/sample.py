"""`condgen sample`: images from a checkpoint alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from condgen.cli.errors import UserError, nearest
from condgen.cli.parser import OneLineParser

if TYPE_CHECKING:
    from torch import nn

Module = TypeVar("Module", bound="nn.Module")


def parser() -> OneLineParser:
    """Return the verb's parser."""
    out = OneLineParser(
        prog="condgen sample",
        description="Generate images from a checkpoint. Rows are labels, columns are seeds.",
        epilog="Further options are the sampler's own, such as --steps 20 --guidance 2 --eta 0.5 of diffusion models.",
        allow_abbrev=False,
    )
    out.add_argument("--ckpt", required=True, metavar="RUN_OR_FILE", help="a run's folder, or a checkpoint file")
    out.add_argument("--label", metavar="A,B", help="class names or numbers, or 0-4; default: every class")
    out.add_argument("--n", type=int, help="images per label; default: as many as --seeds, else 8")
    out.add_argument(
        "--seeds", metavar="0-15", help="one seed per image of a label, as 0-15 or 3,7,9; default 0 to n-1"
    )
    out.add_argument("--out", default="samples.png", help="a .png file for a grid, else a folder of single PNGs")
    out.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or mps; images differ by rounding")
    out.add_argument("--raw", action="store_true", help="use the raw weights, not the averaged ones")
    out.add_argument("--sampler", metavar="CLASS", help="sampler in place of the checkpoint's own, such as DPMSolver")
    out.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="package a checkpoint may import")
    return out


def run(verb: str, args: list[str]) -> int:
    """Sample and write."""
    options, rest = parser().parse_known_args(args)
    seeds, settings = parse_seeds(options.seeds, options.n), parse_settings(rest)

    import torch

    from condgen.checkpoints import CheckpointError, load_model
    from condgen.cli.samplers import choose_sampler
    from condgen.pictures import grid, save_png
    from condgen.pixels import to_uint8

    try:
        model = load_model(options.ckpt, trusted=options.trust)
    except CheckpointError as error:
        raise UserError(str(error)) from error
    choose_sampler(model, options.sampler, settings, parser()._option_string_actions)
    model.raw = options.raw
    names = model.cond_spec.get("label", {}).get("names", [])
    if options.label is not None and not names:
        raise UserError("this model takes no label; leave --label out")
    out = Path(options.out)
    if out.suffix.lower() not in ("", ".png") and not out.is_dir():
        raise UserError(f"--out takes a .png file for a grid, or a folder, got {out}")
    labels = parse_labels(options.label, names)
    for what, values in (("--label", labels), ("--seeds", seeds)):
        if len(set(values)) < len(values):
            raise UserError(f"{what} names the same one twice")
    repeated = torch.tensor(seeds).repeat(max(1, len(labels)))
    cond = {"label": torch.tensor(labels).repeat_interleave(len(seeds))} if labels else {}
    images = to_uint8(moved(model, options.device).sample(cond, seeds=repeated)).cpu()
    try:
        if out.suffix.lower() == ".png":
            save_png(grid(images, len(seeds)), out)
        else:
            for i, image in enumerate(images):
                prefix = f"label={file_name(names[labels[i // len(seeds)]])}-" if labels else ""
                save_png(image, out / f"{prefix}seed={int(repeated[i])}.png")
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error
    print(f"{len(images)} images in {out}")
    return 0


def moved(module: Module, device: str) -> Module:
    """Move a model or a net to a device that is there."""
    try:
        return module.to(device)
    except (RuntimeError, AssertionError) as error:  # torch raises either, by the reason
        raise UserError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from error


def parse_settings(rest: list[str]) -> dict[str, str]:
    """Read the options that the verb itself does not know: `--steps 20`, `--steps=20`, or `--sde` for true."""
    settings: dict[str, str] = {}
    words = list(reversed(rest))
    while words:
        word = words.pop()
        if not word.startswith("--"):
            raise UserError(f"sample: no argument {word!r}; options begin with --")
        name, equals, value = word[2:].partition("=")
        has_value = not equals and words and not words[-1].startswith("--")
        settings[name] = words.pop() if has_value else value
    return settings


def file_name(name: str) -> str:
    """Make a class name fit for a file's name."""
    return re.sub(r"[^\w.+-]", "_", name)


def parse_seeds(text: str | None, n: int | None) -> list[int]:
    """Read `0-15` or `3,7,9`; n is their number."""
    if n is not None and n < 1:
        raise UserError(f"--n must be at least 1, got {n}")
    if text is None:
        return list(range(n or 8))
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UserError(f"--seeds takes numbers >= 0 as 0-15 or 3,7,9, got {text!r}")
        if int(last or first) >= 2**63 or int(last or first) - int(first) >= 100_000:
            raise UserError(f"--seeds takes at most 100000 numbers below 2^63, got {text!r}")
        seeds += range(int(first), int(last or first) + 1)
    if not seeds:
        raise UserError(f"--seeds names no seed: {text!r}")
    if n is not None and n != len(seeds):
        raise UserError(f"--n {n} needs as many seeds, and --seeds {text} gives {len(seeds)}")
    return seeds


def parse_labels(text: str | None, names: Sequence[str]) -> list[int]:
    """Read class names, or numbers where no class has that name; all classes by default."""
    if text is None:
        return list(range(len(names)))
    labels = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if part in names:
            labels.append(names.index(part))
        elif first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first) < len(names):
            labels += range(int(first), int(last or first) + 1)
        else:
            hint = "" if part.strip("-").isdecimal() or dash else nearest(part, names)
            raise UserError(f"no class {part!r}{hint}; classes go from 0 to {len(names) - 1}: {', '.join(names[:12])}")
    return labels
