"""How scores are shown, and the hash that says whose they are."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from rich.table import Table

from condgen.models import GenerativeModel


def score_table(result: dict[str, Any]) -> Table:
    """Lay out scores, their values for training images, and what is good."""
    protocol = result["protocol"]
    table = Table(title=f"{protocol['n_samples']} samples against {protocol['n_real']} {protocol['split']} images")
    for heading in ("score", "value", "training images", "good is"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    for name, row in result["scores"].items():
        reference = row.get("training_images")
        table.add_row(name, f"{row['value']:.4f}", "" if reference is None else f"{reference:.4f}", row["better"])
    return table


def weights_hash(model: GenerativeModel) -> str:
    """Hash names and values of the weights that sample."""
    digest = sha256()
    for name, value in model.sampling_net.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
