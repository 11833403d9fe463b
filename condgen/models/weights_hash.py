"""What identifies the weights that sample."""

from __future__ import annotations

from hashlib import sha256

from condgen.models.base import GenerativeModel


def weights_hash(model: GenerativeModel) -> str:
    """Hash names and values of the weights that sample."""
    digest = sha256()
    for name, value in model.sampling_net.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
