"""Pictures of each run by the same seeds and conditions, and the training images that are nearest to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor

from condgen.callbacks.sample_grid import grid_conditions
from condgen.checkpoints import CheckpointError, load_model
from condgen.data import ImageDataModule, Images
from condgen.models import GenerativeModel
from condgen.models.plain import from_plain
from condgen.models.weights_hash import weights_hash
from condgen.pictures import grid
from condgen.pixels import to_uint8
from condgen.report.runs import Run
from condgen.seeding import generator
from condgen.types import CondSpec
from condgen.yaml_file import read_yaml

COLUMNS, ROWS = 8, 16
HELD_OUT = 100
"""Held-out images whose distance to the training images stands beside that of samples."""


class Drawn(NamedTuple):
    """What a run shows of its samples.

    sheet: A grid (C, H, W) uint8 drawn for the report, or the bytes of a PNG that the run stored; null for neither.
    origin: Where it is from, or why there is none.
    images: (N, C, H, W) uint8, one per class by seed 0; null where nothing was drawn.
    rows: Names of the grid's rows.
    changed: Whether the weights are not those that were scored.
    """

    sheet: Tensor | bytes | None
    origin: str
    images: Tensor | None = None
    rows: Sequence[str] = ()
    changed: bool = False


class Neighbours(NamedTuple):
    """Samples above their nearest training images, and root mean square differences in grey levels.

    held_out: The median over images of the split that was scored.
    """

    sheet: Tensor
    distance: list[float]
    held_out: float


# ---------------------------------------------------------------------- samples


def draw(run: Run, trusted: Sequence[str]) -> Drawn:
    """Sample a run anew from its checkpoint; where that fails, show the last grid that it stored."""
    drawn = run.protocol.get("model") is not None
    reason = "the checkpoint that was scored is not here" if drawn else "what was scored came from no run"
    if run.checkpoint is not None:
        try:
            return drawn_anew(load_model(run.checkpoint, trusted=trusted), run, trusted)
        except (CheckpointError, ValueError, TypeError, RuntimeError) as error:  # a sampler of the user's may raise any
            reason = f"the checkpoint cannot be sampled ({' '.join(str(error).split())})"
    stored = sorted((run.trained / "samples").glob("images-*.png")) if run.trained is not None else []
    if not stored:
        return Drawn(None, f"No samples: {reason}, and no grids were stored.")
    seen = int(stored[-1].stem.removeprefix("images-"))
    return Drawn(stored[-1].read_bytes(), f"The grid that the run stored at {seen:,} images, since {reason}.")


def drawn_anew(model: GenerativeModel, run: Run, trusted: Sequence[str]) -> Drawn:
    """Sample a grid with the sampler and the weights, averaged or raw, that were scored."""
    model.raw = run.protocol.get("ema") is False
    card = dict(run.protocol.get("sampler") or {})
    model.sample_chunk = card.pop("chunk", model.sample_chunk)
    if card:
        model.sampler = from_plain(card, trusted)
    cond, seeds = grid_conditions(model.cond_spec, range(COLUMNS), ROWS)
    images = to_uint8(model.sample(cond, seeds=seeds))
    scored = run.protocol.get("weights_sha256")
    names = class_names(model.cond_spec)
    return Drawn(
        sheet=grid(images, COLUMNS),
        origin="Drawn anew from the checkpoint.",
        images=images[::COLUMNS] if names else images,
        rows=names[:ROWS],
        changed=scored is not None and scored != weights_hash(model),
    )


def class_names(cond_spec: CondSpec) -> list[str]:
    """Return the names of the classes; none without labels."""
    return [str(name) for name in cond_spec.get("label", {}).get("names", [])]


# ---------------------------------------------------------------------- neighbours


class TrainingImages:
    """Training images of the runs' data modules, each read once.

    Args:
        build: Builds a data module from its class path and arguments, or raises a ValueError.
    """

    def __init__(self, build: Callable[[dict[str, Any]], ImageDataModule]) -> None:
        self.build = build
        self._modules: dict[str, ImageDataModule] = {}

    def data(self, run: Run) -> ImageDataModule:
        """Build the data module that a run's config names; nothing is downloaded.

        Raises:
            ValueError: If there is no config, or it cannot be built from it.
        """
        card = data_card(run)
        key = json.dumps(card, sort_keys=True)
        if key not in self._modules:
            self._modules[key] = self.build(card)
        return self._modules[key]

    def nearest(self, run: Run, images: Tensor) -> Neighbours:
        """Find the training images nearest to samples (N, C, H, W) uint8.

        Raises:
            ValueError: If the data cannot be read, or holds images of another shape.
        """
        data = self.data(run)
        train, split = data.images("train"), run.protocol.get("split")
        if images.shape[1:] != data.image_shape:
            raise ValueError(f"samples are {tuple(images.shape[1:])}, training images {data.image_shape}")
        held_out = data.images("validation" if split == "validation" else "test")
        some = torch.randperm(len(held_out), generator=generator("held out"))[:HELD_OUT]
        distance, place = nearest_rows(torch.cat([images, held_out.take(some).pixels]), train)
        reference, distance = distance[len(images) :], distance[: len(images)]
        sheet = grid(torch.cat([images, train.take(place[: len(images)]).pixels]), columns=len(images))
        return Neighbours(sheet, distance.tolist(), float(reference.median()))


def data_card(run: Run) -> dict[str, Any]:
    """Read the data module of a run's config, told to download nothing, and without what changes training batches."""
    files = [folder / "config.yaml" for folder in (run.trained, run.folder) if folder is not None]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise ValueError("the run has no config.yaml")
    config = read_yaml(file)
    card = config.get("data") if isinstance(config, Mapping) else None
    if not isinstance(card, Mapping) or "class_path" not in card:
        raise ValueError(f"{file} names no data")
    init_args = dict(card.get("init_args") or {})
    for name, value in (("download", False), ("augment", None)):
        if name in init_args:
            init_args[name] = value
    return {"class_path": card["class_path"], "init_args": init_args}


def nearest_rows(images: Tensor, among: Images) -> tuple[Tensor, Tensor]:
    """Return the root mean square difference to the nearest of other images, and its place, (N,) each."""
    rows, start = images.flatten(1).float(), 0
    best, place = torch.full((len(rows),), torch.inf), torch.zeros(len(rows), dtype=torch.int64)
    for block in among.blocks():
        value, nearest = torch.cdist(rows, block.pixels.flatten(1).float()).min(dim=1)
        better = value < best
        best, place = torch.where(better, value, best), torch.where(better, nearest + start, place)
        start += len(block)
    return best / sqrt(rows.shape[1]), place


def neighbours(run: Run, drawn: Drawn, images: TrainingImages, say: Callable[[str], None]) -> Neighbours | str:
    """Find the neighbours of a run's samples, or say why there are none."""
    if drawn.images is None:
        return "its samples were not drawn anew"
    say(f"training images nearest to samples of {run.name}")
    try:
        return images.nearest(run, drawn.images)
    except (ValueError, TypeError, KeyError, OSError, RuntimeError) as error:
        return f"its training images cannot be read: {' '.join(str(error).split())}"
