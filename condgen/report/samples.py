"""Pictures of each run by the same seeds and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from condgen.callbacks.sample_grid import grid_conditions
from condgen.checkpoints import CheckpointError, load_model
from condgen.models import GenerativeModel
from condgen.models.plain import from_plain
from condgen.models.weights_hash import weights_hash
from condgen.pictures import grid
from condgen.pixels import to_uint8
from condgen.report.runs import Run
from condgen.types import CondSpec

COLUMNS, ROWS = 8, 16


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
    model.sample_chunk, model.half_samples = card.pop("chunk", model.sample_chunk), card.pop("half", False)
    if card:
        model.sampler = from_plain(card, trusted)
    cond, seeds = grid_conditions(model, range(COLUMNS), ROWS)
    images = to_uint8(model.sample(cond, seeds=seeds))
    scored = run.protocol.get("weights_sha256")
    names = class_names(model.cond_spec) if "label" in model.condition_keys else []
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
