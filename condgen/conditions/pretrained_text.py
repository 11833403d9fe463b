"""The last states of pretrained text encoders, kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from condgen.cache_root import cache_root
from condgen.conditions.tokenisers import to_captions
from condgen.whole import whole_file

CHUNK = 16
"""Captions that the net reads at once; fewer are padded, so that no caption's states depend on the others."""
MEMORY = 2**14
"""Captions whose states are kept in memory."""


class PretrainedText:
    """Caption -> last states of a text encoder from Hugging Face, which is loaded when a caption is new.

    It is no module, so that neither checkpoints nor optimizers see its weights; all its copies are one.

    Args:
        model: Folder of a model with its tokeniser, or its name on the hub.
        max_tokens: Tokens per caption; what is longer is cut.
    """

    def __init__(self, model: str, max_tokens: int) -> None:
        self.model = model
        self.max_tokens = max_tokens
        config = load(lambda hub: hub.AutoConfig.from_pretrained(model, trust_remote_code=False), model)
        self.config = getattr(config, "text_config", None) or config
        self.width = int(self.config.hidden_size)
        version = getattr(config, "_commit_hash", None) or describe_folder(Path(model))
        key = f"{model}\n{version}\n{max_tokens}".encode()
        self.folder = cache_root() / "text" / sha256(key).hexdigest()[:16]
        self._states: dict[bytes, NDArray[np.float16]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> PretrainedText:
        """Return itself."""
        return self

    def __reduce__(self) -> tuple[Callable[..., PretrainedText], tuple[str, int]]:
        """Pickle what it is made from."""
        return pretrained_text, (self.model, self.max_tokens)

    def __call__(self, text: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Read UTF-8 bytes (N, B) uint8, new ones by the net on a device.

        Returns:
            States (N, max_tokens, width) float32, zeros where there is no token, and where there is one, (N,
            max_tokens) bool; on that device.
        """
        captions = to_captions(text)
        if len(self._states) > MEMORY:
            self._states.clear()
        known = {caption: self._load(caption) for caption in dict.fromkeys(captions)}
        new = [caption for caption, states in known.items() if states is None]
        for start in range(0, len(new), CHUNK):
            known |= self._read(new[start : start + CHUNK], device)
        states = np.zeros((len(captions), self.max_tokens, self.width), dtype=np.float16)
        mask = np.zeros(states.shape[:2], dtype=bool)
        for row, caption in enumerate(captions):
            found = known[caption]
            assert found is not None
            states[row, : len(found)], mask[row, : len(found)] = found, True
        return torch.from_numpy(states).to(device).float(), torch.from_numpy(mask).to(device)

    def _file(self, caption: bytes) -> Path:
        return self.folder / f"{sha256(caption).hexdigest()}.npy"

    def _load(self, caption: bytes) -> NDArray[np.float16] | None:
        """Return the states (T, width) that are kept, from memory or disk."""
        if caption not in self._states:
            try:
                self._states[caption] = np.load(self._file(caption), allow_pickle=False)
            except (OSError, ValueError, EOFError):
                return None
        return self._states[caption]

    @torch.no_grad()
    def _read(self, captions: list[bytes], device: torch.device) -> dict[bytes, NDArray[np.float16] | None]:
        """Let the net read up to `CHUNK` captions, and keep their states (T, width)."""
        padded = [*captions, *[b""] * (CHUNK - len(captions))]
        tokeniser, net = self._pretrained
        length = {"padding": "max_length", "truncation": True, "max_length": self.max_tokens}
        inputs = tokeniser([caption.decode(errors="replace") for caption in padded], return_tensors="pt", **length)
        with torch.autocast(device.type, enabled=False):
            out = net.to(device)(
                input_ids=inputs["input_ids"].to(device), attention_mask=inputs["attention_mask"].to(device)
            )
        states, there = out.last_hidden_state.half().cpu().numpy(), inputs["attention_mask"].bool().numpy()
        for row, caption in enumerate(captions):
            self._states[caption] = states[row][there[row]]
            with suppress(OSError), whole_file(self._file(caption)) as file:  # if not, it will be read again
                np.save(file, self._states[caption], allow_pickle=False)
        return {caption: self._states[caption] for caption in captions}

    @cached_property
    def _pretrained(self) -> tuple[Any, Any]:
        """The tokeniser and the net, from weights that hold no code."""
        plain = {"trust_remote_code": False}
        tokeniser = load(lambda hub: hub.AutoTokenizer.from_pretrained(self.model, **plain), self.model)
        settings = {"config": self.config, "use_safetensors": True, **plain}
        net = load(lambda hub: hub.AutoModelForTextEncoding.from_pretrained(self.model, **settings), self.model)
        return tokeniser, net.float().eval().requires_grad_(False)


@lru_cache(maxsize=4)
def pretrained_text(model: str, max_tokens: int) -> PretrainedText:
    """Return the one reader of a model, whoever asks for it."""
    return PretrainedText(model, max_tokens)


def load(make: Callable[[Any], Any], model: str, user: str = "FrozenTextEncoder", what: str = "a text encoder") -> Any:
    """Load a part of a model by `transformers`.

    Args:
        make: Loads it, given the package.
        model: What it is loaded from.
        user: Who needs it, as errors name it.
        what: What is looked for.

    Raises:
        ValueError: If the package is not installed, or cannot.
    """
    try:
        import transformers
    except ImportError as error:
        raise ValueError(f"{user} needs transformers: pip install 'condgen[text]'") from error
    try:
        return make(transformers)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"model {model!r} cannot be loaded as {what}: {reason}") from error


def describe_folder(folder: Path) -> str:
    """List name, size and time of a folder's files, by which it is known that a model is another one."""
    files = sorted(path for path in folder.glob("*") if path.is_file())
    return "\n".join(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files)
