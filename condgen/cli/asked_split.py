"""The split whose conditions a run's samples are asked for when they are scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from condgen.checkpoints import find_checkpoint
from condgen.cli.data_config import data_module
from condgen.cli.errors import UserError
from condgen.cli.imports import imports_from
from condgen.data import ImageDataModule, ImageSource, SplitImages
from condgen.data.base import Split
from condgen.models import GenerativeModel
from condgen.models.plain import OWN_PACKAGES, to_plain


def asked_split(
    model: GenerativeModel, run: str, real: ImageSource | None, split: Split, trusted: Sequence[str]
) -> SplitImages:
    """Return the real images' split where it has the conditions that the model takes, else that of the run's own data.

    Args:
        model: What is asked.
        run: A run's folder, or its checkpoint file; the data is what the `config.yaml` of the run names.
        real: What the samples are compared with.
        split: Which split of the run's own data.
        trusted: Packages beside condgen's own that the run's config may import from.

    Raises:
        UserError: If there is no such config, or its data is wrong.
    """
    if isinstance(real, SplitImages) and offers(real.module, model):
        return real
    config = find_checkpoint(run).parent.parent / "config.yaml"
    if not config.is_file():
        raise UserError(
            f"{run} is asked for {', '.join(model.condition_keys)}, and there is no {config} that says of which data; "
            "give REAL as a config of data that has them"
        )
    return SplitImages(own_data(config, trusted), split)


def offers(data: ImageDataModule, model: GenerativeModel) -> bool:
    """Tell whether data has images and conditions such as the model was trained on."""
    there, due = (
        to_plain({k: spec.get(k) for k in model.condition_keys}) for spec in (data.cond_spec, model.cond_spec)
    )
    return bool(there == due) and tuple(data.image_shape) == tuple(model.image_shape)


def own_data(config: Path, trusted: Sequence[str]) -> ImageDataModule:
    """Build the data module that a run's config names."""
    with imports_from((*OWN_PACKAGES, *trusted), config):
        return data_module(str(config), [])
