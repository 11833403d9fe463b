"""`condgen sample`: images from a checkpoint alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from condgen.cli.asked import add_conditions, asked_for
from condgen.cli.errors import UserError
from condgen.cli.loaded import add_model, loaded, moved
from condgen.cli.parser import OneLineParser


def parser() -> OneLineParser:
    """Return the verb's parser."""
    out = OneLineParser(
        prog="condgen sample",
        description="Generate images from a checkpoint. Rows are conditions, columns are seeds.",
        epilog="Further options are the sampler's own, such as --steps 20, --eta 0.5, --guidance 2, or by condition "
        "--guidance text=3,source=1.5.",
        allow_abbrev=False,
    )
    add_model(out)
    out.add_argument("--n", type=int, help="images per condition; default: as many as --seeds, else 8")
    out.add_argument(
        "--seeds", metavar="0-15", help="one seed per image of a condition, as 0-15 or 3,7,9; default 0 to n-1"
    )
    out.add_argument("--out", default="samples.png", help="a .png file for a grid, else a folder of single PNGs")
    add_conditions(out)
    return out


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Sample and write."""
    options, rest = parser().parse_known_args(args)
    seeds, model = parse_seeds(options.seeds, options.n), loaded(options, rest, parser(), trusted)

    import torch

    from condgen.pictures import grid, save_png
    from condgen.pixels import to_uint8

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
        raise UserError(str(error)) from error
    print(f"{len(images)} images in {out}")
    return 0


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
