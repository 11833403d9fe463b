"""`condgen interpolate`: the way between two conditions, or two seeds, as a strip and a GIF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from condgen.cli.asked import add_conditions, asked_for
from condgen.cli.errors import UserError
from condgen.cli.loaded import add_model, loaded, moved
from condgen.cli.parser import OneLineParser
from condgen.cli.sample import parse_seeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

FRAME_MS = 120


MOST_FRAMES = 10_000
"""Images of a strip, which is one picture."""


def parser() -> OneLineParser:
    """Return the verb's parser."""
    out = OneLineParser(
        prog="condgen interpolate",
        description="Generate the images on the way from one condition or seed to another: a strip and a GIF.",
        epilog="Further options are the sampler's own, such as --steps 20 --guidance 2.",
        allow_abbrev=False,
    )
    add_model(out)
    out.add_argument("--seeds", default="0", metavar="A,B", help="one seed, or the first and the last; default 0")
    out.add_argument("--frames", type=int, default=9, help="number of images, both ends among them")
    out.add_argument("--out", default="interpolation.png", metavar="FILE.png", help="the strip; the GIF is FILE.gif")
    add_conditions(out)
    return out


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Generate and write."""
    options, rest = parser().parse_known_args(args)
    seeds, out = parse_seeds(options.seeds, None), Path(options.out)
    if len(seeds) > 2:
        raise UserError(f"--seeds takes one seed or two, got {options.seeds}")
    if options.frames > MOST_FRAMES:
        raise UserError(f"--frames must be at most {MOST_FRAMES}, got {options.frames}")
    if out.suffix.lower() != ".png":
        raise UserError(f"--out takes a .png file, got {out}")

    model = loaded(options, rest, parser(), trusted)

    import torch

    from condgen.models.interpolate import interpolate
    from condgen.pixels import to_uint8

    if options.label is None and set(model.condition_keys) == {"label"}:
        raise UserError("give --label A,B, from and to, or one class with --seeds A,B")
    asked = asked_for(options, model)
    if len(asked.names) > 2 or (len(asked.names) == len(seeds) == 1):
        raise UserError("interpolation goes from one condition to another, or from one seed to another: give two")
    ends = torch.tensor([0, len(asked.names) - 1])
    noise = model.prior(torch.tensor([seeds[0], seeds[-1]]))
    cond = {key: value[ends] for key, value in asked.cond.items()}
    try:
        images = interpolate(moved(model, options.device), cond, noise, options.frames)
        write(to_uint8(images).cpu(), out)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error
    print(f"{len(images)} images in {out}, {out.with_suffix('.gif')}")
    return 0


def write(images: Tensor, out: Path) -> None:
    """Write uint8 images (N, C, H, W) side by side, and one after the other, there and back."""
    from condgen.pictures import enlarge, grid, save_png, to_pil
    from condgen.whole import whole_file

    save_png(grid(images, len(images)), out)
    frames = [to_pil(image).convert("RGB") for image in enlarge(images)]
    frames += frames[-2:0:-1]
    with whole_file(out.with_suffix(".gif"), sync=False) as file:
        frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
