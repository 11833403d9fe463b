"""Lightning's hints and warnings of its own internals, which say nothing to a user."""

from __future__ import annotations

import logging
import warnings


def quiet() -> None:
    """Keep Lightning's hints and warnings of its own internals off the screen."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*Couldn't infer the batch indices.*")  # batches carry their own
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # the scores are those of all processes
    warnings.filterwarnings("ignore", message=".*in eval mode at the start.*")  # the averaged net
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")  # batches count, not epochs
