"""Which callbacks a run has, and what it can rank its checkpoints by."""

from __future__ import annotations

import lightning as L

from condgen.callbacks import (
    Checkpoint,
    CollapseWatch,
    CompileNets,
    EvaluateLikelihood,
    EvaluateSamples,
    ExportRecogniser,
    SampleGrid,
)
from condgen.callbacks.evaluate_likelihood import bound_rows
from condgen.cli.errors import UserError, nearest
from condgen.models import BoundsLikelihood, GenerativeModel, Recogniser


def suited_to(model: L.LightningModule, callbacks: list[L.Callback]) -> list[L.Callback]:
    """Leave out what the model has no use for: samples of a classifier, the likelihood of a GAN.

    Each callback takes its part of every step, as Lightning calls all hooks of all.

    Raises:
        ValueError: If a net that is to be compiled is not there.
    """
    useless: tuple[type[L.Callback], ...] = ()
    if not isinstance(model, Recogniser):
        useless += (ExportRecogniser,)
    if not isinstance(model, GenerativeModel):
        useless += (CollapseWatch, EvaluateSamples, SampleGrid)
    if not isinstance(model, BoundsLikelihood):
        useless += (EvaluateLikelihood,)
    for callback in callbacks:
        if isinstance(callback, CompileNets) and not callback.find(model):
            useless += (CompileNets,)
    return [callback for callback in callbacks if not isinstance(callback, useless)]


def check_monitor(model: L.LightningModule, callbacks: list[L.Callback]) -> None:
    """Refuse to rank checkpoints by a score that is never measured."""
    scores = [f"val/{name}" for name in score_directions(model, callbacks)]
    for monitor in [callback.kept.monitor for callback in callbacks if isinstance(callback, Checkpoint)]:
        if scores and monitor not in (None, *scores):
            raise UserError(f"checkpoint.monitor: no score {monitor!r}{nearest(str(monitor), scores)}")


def score_directions(model: L.LightningModule, callbacks: list[L.Callback]) -> dict[str, str]:
    """Say whether `higher` or `lower` is better, by the scores that are measured at each validation of `fit`."""
    found: dict[str, str] = {}
    for callback in callbacks:
        if isinstance(callback, EvaluateSamples):
            found |= callback.better
        if isinstance(callback, EvaluateLikelihood) and isinstance(model, BoundsLikelihood):
            found |= {name: row["better"] for name, row in bound_rows({"elbo": 0.0}, model.likelihood_unit, 1).items()}
    return found
