"""What Lightning's loops must be told to go on between two batches, whatever they were at when it was written down.

Lightning writes its counters as they are at the moment of a save, and guesses from them what was done: a validation
that was due, or the end of an epoch, is then left out of the resumed run, and a save after the last batch adds an
epoch. So the counters are written anew, as in one of three states. Tests hold the resumed run to the whole one.
"""

from __future__ import annotations

from typing import Any, cast

import lightning as L


def validation_is_due(trainer: L.Trainer) -> bool:
    """Tell, at the end of a batch, whether Lightning validates before the next one."""
    loop = cast(Any, trainer).fit_loop
    return bool(loop.epoch_loop._should_check_val_fx(loop._data_fetcher))


def epoch_ends(trainer: L.Trainer) -> bool:
    """Tell whether the last batch was its epoch's last one."""
    return bool(cast(Any, trainer).fit_loop.epoch_loop._num_ready_batches_reached())


def between_batches(trainer: L.Trainer, validating: bool) -> dict[str, Any]:
    """Return the state of the fit loop after a whole batch.

    Args:
        trainer: The trainer, after a batch.
        validating: Whether a validation is due before the next batch.
    """
    state: dict[str, Any] = cast(Any, trainer).fit_loop.state_dict()
    batches = state["epoch_loop.batch_progress"]
    done, total = batches["current"]["ready"], batches["total"]["ready"]
    epoch = state["epoch_progress"]["current"]["started"] - 1
    if epoch_ends(trainer) and not validating:  # the next epoch is about to begin
        state["epoch_progress"] = progress(epoch + 1, epoch + 1)
        batches |= {**progress(0, 0), "total": counts(total, total), "is_last_batch": False}
    else:
        state["epoch_progress"] = progress(epoch + 1, epoch)
        batches |= {**progress(done, done), "total": counts(total, total), "is_last_batch": epoch_ends(trainer)}
    state["epoch_loop.state_dict"]["_batches_that_stepped"] = trainer.global_step
    begun = int(validating)  # a validation that was begun is taken up from its beginning
    state["epoch_loop.val_loop.batch_progress"] |= progress(begun, 0) | {"is_last_batch": False}
    return state


def progress(begun: int, ended: int) -> dict[str, Any]:
    """Return Lightning's counters of something in this part of the run, and in the whole."""
    return {"current": counts(begun, ended), "total": counts(begun, ended)}


def counts(begun: int, ended: int) -> dict[str, int]:
    """Return Lightning's four counters: so many were begun, so many ended."""
    return {"ready": begun, "started": begun, "processed": ended, "completed": ended}
