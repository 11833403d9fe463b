"""The split whose conditions a run's samples are asked for when they are scored."""

from __future__ import annotations

from collections.abc import Sequence

from condgen.checkpoints import find_checkpoint
from condgen.cli.data_config import data_module
from condgen.cli.errors import UserError
from condgen.data import ImageDataModule, ImageSource, SplitImages
from condgen.data.base import Split
from condgen.models import GenerativeModel
from condgen.models.plain import to_plain
from condgen.report.model_card import training_run


def asked_split(
    model: GenerativeModel, run: str, real: ImageSource | None, split: Split, trusted: Sequence[str]
) -> SplitImages:
    """Return the real images' split where it has the conditions that the model takes, else that of the run's own data.

    Args:
        model: What is asked.
        run: A run's folder, or its checkpoint file; the data is what the `config.yaml` of the run names.
        real: What the samples are compared with.
        split: Which split of the run's own data.
        trusted: Packages that the run's config may name, beside `condgen.trust.CONFIG_PACKAGES`.

    Raises:
        UserError: If there is no such config, or its data is wrong.
    """
    if isinstance(real, SplitImages) and offers(real.module, model):
        return real
    folder = training_run(find_checkpoint(run))
    config = None if folder is None else folder / "config.yaml"
    if config is None or not config.is_file():
        missing = "it has no config.yaml" if config is None else f"there is no {config}"
        raise UserError(
            f"{run} is asked for {', '.join(model.condition_keys)}, and {missing} that says of which data; "
            "give REAL as a config of data that has them"
        )
    try:
        return SplitImages(data_module(str(config), [], trusted), split)
    except UserError as error:
        raise UserError(f"{config}: {error}") from error


def offers(data: ImageDataModule, model: GenerativeModel) -> bool:
    """Tell whether data has images and conditions such as the model was trained on."""
    there, due = (
        to_plain({k: spec.get(k) for k in model.condition_keys}) for spec in (data.cond_spec, model.cond_spec)
    )
    return bool(there == due) and tuple(data.image_shape) == tuple(model.image_shape)
