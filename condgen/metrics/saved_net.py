"""Nets that judge, as safetensors files: weights, and a card that says what they are and how the net is built."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from condgen.nets import RecognisingNet
from condgen.whole import whole_file

Net = TypeVar("Net", bound=RecognisingNet)


class SavedNet(NamedTuple, Generic[Net]):
    """A frozen net in evaluation mode, its card, and the hash of its file."""

    net: Net
    card: dict[str, Any]
    sha256: str

    @property
    def name_and_hash(self) -> dict[str, str]:
        """What a protocol says of it."""
        return {"name": self.card["name"], "sha256": self.sha256}


def save_net(net: RecognisingNet, path: Path, card: dict[str, Any]) -> None:
    """Write a net for `read_net`, whole or not at all.

    Args:
        net: The net.
        path: The file; its folder is made if needed.
        card: `name`, `classes`, their names, if known, and what else a reader of scores should know.
    """
    built = {"image_shape": net.shape, "num_classes": net.num_classes, "net": net.settings}
    tensors = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    content = save_tensors(tensors, metadata={"condgen": json.dumps(card | built, sort_keys=True)})
    with whole_file(path) as file:
        file.write(content)


def read_net(path: str, kind: type[Net], what: str) -> SavedNet[Net]:
    """Read a net; its weights must have the sizes that its card says before any memory is taken for them.

    Args:
        path: The file, as `save_net` writes it.
        kind: Class of the net.
        what: Name of such a net, for errors.

    Raises:
        ValueError: If the file is missing or holds no such net.
    """
    try:
        content = Path(path).read_bytes()
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {})["condgen"])
        with torch.device("meta"):
            net = kind(tuple(card["image_shape"]), card["num_classes"], **card["net"])
        net.load_state_dict(load_tensors(content), assign=True)
        saved = SavedNet(net.float().requires_grad_(False).eval(), card | {"name": str(card["name"])}, "")
    except (OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is not a {what} saved by condgen: {misfit(error)}") from error
    except Exception as error:  # safetensors raises its own type, not exported
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    return saved._replace(sha256=sha256(content).hexdigest())


def misfit(error: Exception) -> str:
    """Say in one line why weights do not fit a net: the first missing or unexpected key, or the first wrong size."""
    lines = [line.strip() for line in str(error).splitlines()]
    if len(lines) < 2 or "loading state_dict" not in lines[0]:
        return lines[0] if lines else type(error).__name__
    first, *others = lines[1].split('", "')
    return f'{first}" and {len(others)} more' if others else first
