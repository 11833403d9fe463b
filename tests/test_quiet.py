"""What Lightning says of its own internals is kept off the screen."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import lightning as L
from lightning.pytorch.trainer.call import _call_callbacks_on_load_checkpoint

from condgen.cli.quiet import quiet


def test_a_checkpoint_of_callbacks_that_are_not_needed_gives_no_warning(make_trainer: Callable[..., L.Trainer]) -> None:
    trainer = make_trainer(max_steps=1)
    checkpoint = {"pytorch-lightning_version": L.__version__, "callbacks": {"Gone": {}}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _call_callbacks_on_load_checkpoint(trainer, checkpoint)
        assert len(caught) == 1, "Lightning has another check by now"
        quiet()
        _call_callbacks_on_load_checkpoint(trainer, checkpoint)
    assert len(caught) == 1
