"""`condgen evaluate`: scores of any images, whoever made them."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condgen.cli.errors import RunError, UserError
from condgen.cli.loaded import moved
from condgen.cli.parser import OneLineParser

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from condgen.data import ImageSource

N_SAMPLES = 5000
RUN_PARTS = ("checkpoints", "model.safetensors")
DESCRIPTION = """\
Score images as samples of what real images show. REAL and FAKE are each one of:
  a folder of images, whose class subfolders are labels
  a .npz or .npy file of uint8 images (N, H, W, C) or (N, C, H, W), with `labels` in a .npz
  a run's folder, runs/NAME for its latest, a .ckpt file, or what condgen export wrote: samples are drawn
  a data config, such as data/mnist.yaml, whose --split is taken

A run is asked for its classes in turn; if it takes text, masks or other conditions, for those of REAL where REAL is a
config of such data, else for those of the --split of the data that the run's config.yaml names."""
FEATURES = {"train": None, "resize": None, "pad": None, "grey": False, "subset_size": None}
"""Options of scores of features, and what they are where they are not given."""
SUBSET_SIZE = 2000


def parser() -> OneLineParser:
    """Return the verb's parser."""
    out = OneLineParser(
        prog="condgen evaluate",
        description=DESCRIPTION,
        epilog="Data configs take further options, such as --data.root FOLDER.",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    out.add_argument("real", metavar="REAL", help="what is compared with")
    out.add_argument("fake", metavar="FAKE", help="what is scored")
    out.add_argument(
        "--extractor",
        metavar="NAME",
        help="digits, mnist, inception, or a file: a classifier's .safetensors, Inception's .pth, or a .yaml with "
        "class_path and init_args of any extractor",
    )
    out.add_argument(
        "--obedience",
        metavar="LIST",
        help="what is measured of each sample beside its condition: [ShapesFacts]",
    )
    out.add_argument(
        "--train", metavar="PATH", help="what the generator was trained on, as REAL; of a data config the train split"
    )
    out.add_argument("--out", metavar="FOLDER", help="write metrics.json there")
    out.add_argument(
        "--split",
        default="test",
        choices=("train", "validation", "test"),
        help="of data configs, and of a run's own data",
    )
    out.add_argument("--resize", type=int, metavar="SIZE", help="resample other sizes, bicubic and antialiased")
    out.add_argument("--pad", type=int, metavar="SIZE", help="put zeros around smaller images, as MNIST's 28 to 32")
    out.add_argument("--grey", action="store_true", help="turn colours into grey levels where grey is due")
    out.add_argument("--on-error", default="fail", choices=("fail", "skip"), help="what to do with damaged image files")
    out.add_argument("--subset-size", type=int, help=f"images per draw of precision, ...; default {SUBSET_SIZE}")
    out.add_argument("--n", type=int, help=f"samples of a run; default {N_SAMPLES}")
    out.add_argument("--seed", type=int, help="seed of a run's first sample; default 0")
    out.add_argument("--raw", action="store_true", help="sample with a run's raw weights, not the averaged ones")
    out.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    return out


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Score, show and write."""
    words, overrides = split_overrides(args)
    options = parser().parse_args(words)
    options.trust = trusted
    check_use(options, overrides)

    from condgen.checkpoints import CheckpointError
    from condgen.cli.extractor_config import find_extractor
    from condgen.cli.obedience_config import find_obedience
    from condgen.data import DamagedImagesError, Fit
    from condgen.metrics import evaluate

    try:
        named, asked = options.extractor, options.obedience
        extractor = None if named is None else moved(find_extractor(named, options.trust), options.device)
        obedience = (
            [] if asked is None else [moved(metric, options.device) for metric in find_obedience(asked, options.trust)]
        )
        fit = Fit(options.resize, options.pad, options.grey)
        subset_size = SUBSET_SIZE if options.subset_size is None else options.subset_size
        real = open_source(options.real, options, overrides)
        fake = open_source(options.fake, options, overrides, real)
        train = open_train(real, options, overrides)
        result = evaluate(real, fake, extractor, obedience=obedience, train=train, fit=fit, subset_size=subset_size)
        report(result, options.out)
    except (DamagedImagesError, OSError) as error:
        skip = "; --on-error skip leaves them out" if isinstance(error, DamagedImagesError) else ""
        raise RunError(f"{error}{skip}") from error
    except (CheckpointError, ValueError, TypeError) as error:
        raise UserError(str(error)) from error
    return 0


def split_overrides(args: list[str]) -> tuple[list[str], list[str]]:
    """Part the verb's own words from data configs' options, `--data.root FOLDER` or `--data.root=FOLDER`."""
    own: list[str] = []
    overrides: list[str] = []
    words = iter(args)
    for word in words:
        if not word.startswith("--data."):
            own.append(word)
        elif "=" in word:
            overrides.append(word)
        else:
            overrides += [word, next(words, "")]
    return own, overrides


def check_use(options: Namespace, overrides: list[str]) -> None:
    """Refuse options that would be ignored."""
    names = [name for name in (options.real, options.fake, options.train) if name is not None]
    if options.extractor is None and options.obedience is None:
        raise UserError("evaluate needs --extractor, --obedience, or both")
    idle = next((name for name, default in FEATURES.items() if getattr(options, name) != default), None)
    if options.extractor is None and idle is not None:
        raise UserError(f"evaluate: --{idle.replace('_', '-')} is for scores of features, and there is no --extractor")
    if overrides and not any(map(is_config, names)):
        raise UserError(f"evaluate: {overrides[0].partition('=')[0]} is for data configs, and there is none")
    if any(map(is_run, names)):
        return
    given = [name for name in ("n", "seed", "raw") if getattr(options, name) not in (None, False)]
    if given:
        raise UserError(f"evaluate: --{given[0]} is for samples of a run, and there is no run")


def open_source(name: str, options: Namespace, overrides: list[str], real: ImageSource | None = None) -> ImageSource:
    """Open what a path names; nothing is decoded or drawn yet."""
    from condgen.checkpoints import DrawnImages
    from condgen.cli.asked_split import asked_split
    from condgen.cli.data_config import data_module
    from condgen.data import SplitImages, open_images

    if is_config(name):
        return SplitImages(data_module(name, overrides, options.trust), options.split)
    if is_run(name):
        seed, n = options.seed or 0, N_SAMPLES if options.n is None else options.n
        find = partial(asked_split, run=name, real=real, split=options.split, trusted=options.trust)
        how = {"raw": options.raw, "device": options.device, "trusted": options.trust}
        return DrawnImages(name, n, seed, conditions=find, **how)
    return open_images(name, skip_damaged=options.on_error == "skip")


def open_train(real: ImageSource, options: Namespace, overrides: list[str]) -> ImageSource | None:
    """Open what the generator was trained on; a data config that is also REAL is read once."""
    from condgen.cli.data_config import data_module
    from condgen.data import SplitImages

    if options.train is None or not is_config(options.train):
        return None if options.train is None else open_source(options.train, options, overrides)
    if isinstance(real, SplitImages) and options.train == options.real:
        return SplitImages(real.module, "train")
    return SplitImages(data_module(options.train, overrides, options.trust), "train")


def is_config(name: str) -> bool:
    """Tell whether a name is that of a config."""
    return Path(name).suffix in (".yaml", ".yml")


def is_run(name: str) -> bool:
    """Tell whether a path is a run's folder, a checkpoint file, or an exported model."""
    from condgen.checkpoints import newest_run

    path = newest_run(name)
    return path.suffix in (".ckpt", ".safetensors") or any((path / part).exists() for part in RUN_PARTS)


def report(result: dict[str, Any], out: str | None) -> None:
    """Show scores and warnings; write all to a folder's `metrics.json`."""
    from rich.console import Console

    from condgen.callbacks.score_report import add_to_report, score_table

    protocol = result["protocol"]
    title = f"{protocol['n_samples']:,} images of {protocol['samples']}"
    if "n_real" in protocol:
        title += f" against {protocol['n_real']:,} of {protocol['data']} {protocol['split'] or ''}".rstrip()
    Console().print(score_table(result["scores"], title))
    for line in result["warnings"]:
        print(f"warning: {line}")
    if out is not None:
        print(f"scores in {add_to_report(Path(out), result, protocol)}")
