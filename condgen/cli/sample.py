"""`condgen sample`: images from a checkpoint alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from condgen.cli.asked import add_conditions, asked_for
from condgen.cli.errors import UserError
from condgen.cli.parser import OneLineParser

if TYPE_CHECKING:
    from torch import nn

Module = TypeVar("Module", bound="nn.Module")


def parser() -> OneLineParser:
    """Return the verb's parser."""
    out = OneLineParser(
        prog="condgen sample",
        description="Generate images from a checkpoint. Rows are conditions, columns are seeds.",
        epilog="Further options are the sampler's own, such as --steps 20 --guidance 2 --eta 0.5 of diffusion models.",
        allow_abbrev=False,
    )
    out.add_argument("--ckpt", required=True, metavar="RUN_OR_FILE", help="a run's folder, or a checkpoint file")
    out.add_argument("--n", type=int, help="images per condition; default: as many as --seeds, else 8")
    out.add_argument(
        "--seeds", metavar="0-15", help="one seed per image of a condition, as 0-15 or 3,7,9; default 0 to n-1"
    )
    out.add_argument("--out", default="samples.png", help="a .png file for a grid, else a folder of single PNGs")
    out.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or mps; images differ by rounding")
    out.add_argument("--raw", action="store_true", help="use the raw weights, not the averaged ones")
    out.add_argument("--sampler", metavar="CLASS", help="sampler in place of the checkpoint's own, such as DPMSolver")
    out.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="package a checkpoint may import")
    add_conditions(out)
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
    out = Path(options.out)
    if out.suffix.lower() not in ("", ".png") and not out.is_dir():
        raise UserError(f"--out takes a .png file for a grid, or a folder, got {out}")
    if len(set(seeds)) < len(seeds):
        raise UserError("--seeds names the same one twice")
    asked = asked_for(options, model)
    repeated = torch.tensor(seeds).repeat(len(asked.names))
    cond = {key: value.repeat_interleave(len(seeds), 0) for key, value in asked.cond.items()}
    images = to_uint8(moved(model, options.device).sample(cond, seeds=repeated)).cpu()
    try:
        if out.suffix.lower() == ".png":
            save_png(grid(images, len(seeds)), out)
        else:
            for i, image in enumerate(images):
                prefix = f"{asked.names[i // len(seeds)]}-" if cond else ""
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
