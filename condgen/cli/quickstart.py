"""`condgen quickstart`: a CGAN on real digits, trained, scored and sampled by one command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from shutil import which
from typing import Any, cast

from condgen.cli.errors import RunError
from condgen.cli.files import shipped

MIN_ACCURACY = 0.9
USAGE = """\
usage: condgen quickstart [OPTIONS]

Train a CGAN on the 1,797 digits that ship inside scikit-learn, score it on the test split and draw a grid, in about a
minute on two cores. OPTIONS are those of `condgen fit`, and change what the config says, such as --seed_everything 1,
--trainer.max_steps 500 or --runs FOLDER; `condgen fit --help` lists them all."""


def run(verb: str, args: list[str], trusted: Sequence[str]) -> int:
    """Fit and test; further arguments are those of `condgen fit`, such as `--seed_everything 1`.

    Raises:
        RunError: If the label accuracy on the test split is below 0.9.
    """
    if args and args[0] in ("-h", "--help"):
        print(USAGE)
        return 0

    from condgen.callbacks import EvaluateSamples
    from condgen.cli.failures import failures
    from condgen.cli.verbs import start

    config = shipped("experiments") / "quickstart" / "quickstart.yaml"
    cli = start("fit", ["--config", str(config), *args], trusted)
    with failures(cli):
        cli.trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
    (evaluation,) = (c for c in cast(Any, cli.trainer).callbacks if isinstance(c, EvaluateSamples))
    folder = cli.run_folder
    written = {
        "config": folder / "config.yaml",
        "checkpoints": folder / "checkpoints",
        "pictures": max((folder / "samples").glob("*.png"), default=folder / "samples"),
        "scores": folder / "metrics.json",
        "curves": folder / "metrics.csv",
    }
    for name, path in written.items():
        if path.exists():
            print(f"{name:<12} {path}")
    command = "condgen" if which("condgen") else sys.argv[0]
    print(f"next: {command} sample --ckpt {folder} --label 3,7 --n 16 --out samples.png")
    if evaluation.result is None:
        raise RunError("nothing was scored: evaluation.extractor is null")
    accuracy = evaluation.result["scores"]["label_accuracy"]["value"]
    if accuracy < MIN_ACCURACY:
        raise RunError(f"label accuracy {accuracy:.3f} is below {MIN_ACCURACY}: the model did not learn the classes")
    return 0
