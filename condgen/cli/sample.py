"""`condgen sample`: images from a checkpoint alone."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from condgen.cli.asked import add_conditions, asked_for
from condgen.cli.errors import UserError
from condgen.cli.loaded import add_model, loaded, moved
from condgen.cli.parser import OneLineParser

if TYPE_CHECKING:
    from argparse import Namespace

    from rich.progress import Progress

    from condgen.cli.wanted import Wanted
    from condgen.models import GenerativeModel

MOST = 1_000_000
"""Images of a condition that a call may ask for."""


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
    out.add_argument(
        "--out",
        default="samples.png",
        help="a .png file for a grid, a .npz or .tar file, else a folder of single PNGs; files but grids are written "
        "as images come",
    )
    out.add_argument("--chunk", type=int, help="images per evaluation of the net; images differ by rounding")
    out.add_argument("--half", action="store_true", help="compute in bfloat16; images differ by its rounding")
    out.add_argument("--compile", action="store_true", help="compile the nets first, which takes a minute or so")
    add_conditions(out)
    return out


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Sample and write."""
    options, rest = parser().parse_known_args(args)
    seeds, model = parse_seeds(options.seeds, options.n), loaded(options, rest, parser(), trusted)

    from condgen.cli.wanted import Wanted, processes
    from condgen.cli.writers import WRITERS, ending

    out, (rank, count) = Path(options.out), processes()
    if ending(out) not in WRITERS:
        raise UserError(f"--out takes a .png file for a grid, a .npz or .tar file, or a folder, got {out}")
    if ending(out) == ".png" and count > 1:
        raise UserError(f"--out {out}: a grid is made by one process; several take a .npz or .tar file, or a folder")
    if len(set(seeds)) < len(seeds):
        raise UserError("--seeds names the same one twice")
    wanted = Wanted(*asked_for(options, model), seeds, rank, count)
    if not len(wanted.mine):
        raise UserError(f"{len(seeds) * len(wanted.titles)} images cannot be shared by {count} processes")
    set_up(model, options, count)
    start = time.perf_counter()
    try:
        write_all(model, wanted, out)
    except OSError as error:
        raise UserError(str(error)) from error
    rate = len(wanted.mine) / (time.perf_counter() - start)
    share = f", process {rank + 1} of {count}" if count > 1 else ""
    speed = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
    print(f"{len(wanted.mine):,} images in {out}, {speed} images/s{share}")
    return 0


def set_up(model: GenerativeModel, options: Namespace, count: int) -> None:
    """Bring a model to its device, one of its own for each of several processes, and set how it computes."""
    from condgen.models.players import compile_nets

    own = os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or "0"
    moved(model, f"cuda:{own}" if options.device == "cuda" and count > 1 else options.device)
    if options.chunk is not None and options.chunk < 1:
        raise UserError(f"--chunk must be at least 1, got {options.chunk}")
    model.sample_chunk = options.chunk or model.sample_chunk
    model.half_samples = options.half
    if options.compile:
        compile_nets(model.sampling_net)


def write_all(model: GenerativeModel, wanted: Wanted, out: Path) -> None:
    """Sample block by block, and write each before the next; a terminal shows how far it is."""
    from condgen.allocation import memory_kept
    from condgen.cli.writers import open_writer
    from condgen.pixels import to_uint8

    with memory_kept(), open_writer(out, wanted, model.image_shape) as write, progress(wanted.rank) as bar:
        task = bar.add_task("sampling", total=len(wanted.mine))
        for numbers in wanted.blocks(model.sample_chunk):
            cond, seeds = wanted.asked(numbers)
            write(to_uint8(model.sample(cond, seeds=seeds)).cpu(), numbers)
            bar.advance(task, len(numbers))


def progress(rank: int) -> Progress:
    """Return a bar, shown by the first process in a terminal alone."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=rank > 0 or not console.is_terminal)


def parse_seeds(text: str | None, n: int | None) -> list[int]:
    """Read `0-15` or `3,7,9`; n is their number."""
    if n is not None and not 1 <= n <= MOST:
        raise UserError(f"--n must be from 1 to {MOST:,}, got {n}")
    if text is None:
        return list(range(n or 8))
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UserError(f"--seeds takes numbers >= 0 as 0-15 or 3,7,9, got {text!r}")
        if int(last or first) >= 2**63 or int(last or first) - int(first) >= MOST:
            raise UserError(f"--seeds takes at most {MOST:,} numbers below 2^63, got {text!r}")
        seeds += range(int(first), int(last or first) + 1)
    if not seeds:
        raise UserError(f"--seeds names no seed: {text!r}")
    if n is not None and n != len(seeds):
        raise UserError(f"--n {n} needs as many seeds, and --seeds {text} gives {len(seeds)}")
    return seeds
