"""`condgen quickstart`: a CGAN on real digits, trained, scored and sampled by one command."""

from __future__ import annotations

from typing import Any, cast

from condgen.cli.errors import RunError
from condgen.cli.files import shipped

MIN_ACCURACY = 0.9


def run(verb: str, args: list[str]) -> int:
    """Fit and test; further arguments are those of `condgen fit`, such as `--seed_everything 1`.

    Raises:
        RunError: If the label accuracy on the test split is below 0.9.
    """
    from condgen.callbacks import EvaluateSamples
    from condgen.cli.lightning import start

    config = shipped("experiments") / "quickstart" / "quickstart.yaml"
    cli = start("fit", ["--config", str(config), *args])
    cli.trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
    (evaluation,) = (c for c in cast(Any, cli.trainer).callbacks if isinstance(c, EvaluateSamples))
    folder = cli.run_folder
    print(f"config       {folder / 'config.yaml'}")
    print(f"checkpoints  {folder / 'checkpoints'}")
    print(f"pictures     {max((folder / 'samples').glob('*.png'))}")
    print(f"scores       {folder / 'metrics.json'}")
    print(f"curves       {folder / 'metrics.csv'}")
    print(f"next: condgen sample --ckpt {folder} --label 3,7 --n 16 --out samples.png")
    accuracy = evaluation.result["scores"]["label_accuracy"]["value"] if evaluation.result else 0.0
    if accuracy < MIN_ACCURACY:
        raise RunError(f"label accuracy {accuracy:.3f} is below {MIN_ACCURACY}: the model did not learn the classes")
    return 0
