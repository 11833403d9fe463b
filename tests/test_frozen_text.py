"""Captions read by a pretrained text encoder: by a stand-in for transformers, and by transformers where it is there."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from condgen.conditions import FrozenTextEncoder
from condgen.conditions.pretrained_text import CHUNK, pretrained_text
from condgen.data.shapes import encode

SPEC = {"text": {"max_length": 32}}


def captions(*texts: str) -> dict[str, Tensor]:
    return {"text": encode([*texts], 32)}


class Net(nn.Module):
    """Stands in for a net of transformers: embeds characters, and counts what it reads."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, 6)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        assert input_ids.shape == attention_mask.shape == (CHUNK, 8)
        type(self).calls += 1
        return SimpleNamespace(last_hidden_state=self.embedding(input_ids))


def tokenise(
    texts: list[str], *, max_length: int, padding: str, truncation: bool, return_tensors: str
) -> dict[str, Tensor]:
    assert (padding, truncation, return_tensors) == ("max_length", True, "pt")
    rows = [[1, *map(ord, text)][:max_length] for text in texts]
    ids = torch.tensor([row + [0] * (max_length - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Net]:
    def of(value: Any) -> SimpleNamespace:
        return SimpleNamespace(from_pretrained=lambda model, **_: value() if isinstance(value, type) else value)

    fake: Any = ModuleType("transformers")
    fake.AutoConfig = of(SimpleNamespace(hidden_size=6, _commit_hash="1"))
    fake.AutoTokenizer = of(tokenise)
    fake.AutoModelForTextEncoding = of(Net)
    monkeypatch.setitem(sys.modules, "transformers", fake)
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path))
    pretrained_text.cache_clear()
    Net.calls = 0
    yield Net
    pretrained_text.cache_clear()


def test_each_caption_is_read_once_and_kept_on_disk(hub: type[Net]) -> None:
    encoder = FrozenTextEncoder(SPEC, "some/model", width=4, max_tokens=8, tokens=True)
    first = encoder(captions("red", "a long caption", "red"))
    assert hub.calls == 1
    assert first.tokens.shape == (3, 8, 4)
    assert first.token_mask.sum(dim=1).tolist() == [4, 8, 4]
    assert torch.equal(first.vector[0], first.vector[2])
    assert torch.equal(encoder(captions("red")).vector[0], first.vector[0])
    assert hub.calls == 1
    pretrained_text.cache_clear()  # as another process
    again = FrozenTextEncoder(SPEC, "some/model", width=4, max_tokens=8, tokens=True)
    again.load_state_dict(encoder.state_dict())
    out = again(captions("a long caption"))
    assert hub.calls == 1
    assert torch.equal(out.tokens[0], first.tokens[1])
    again(captions("blue", *(str(i) for i in range(20))))
    assert hub.calls == 3


def test_the_pretrained_net_is_one_and_no_part_of_the_encoder(hub: type[Net]) -> None:
    encoder = FrozenTextEncoder(SPEC, "some/model", width=4, max_tokens=8)
    encoder(captions("red"))
    assert {name.split(".")[0] for name in encoder.state_dict()} == {"project", "norm", "null"}
    assert sum(p.numel() for p in encoder.parameters()) == 6 * 4 + 4 + 4 + 4 + 4
    assert deepcopy(encoder).pretrained is encoder.pretrained
    assert FrozenTextEncoder(SPEC, "some/model", width=9, max_tokens=8).pretrained is encoder.pretrained


def test_dropped_captions_become_one_learned_token(hub: type[Net]) -> None:
    encoder = FrozenTextEncoder(SPEC, "some/model", width=4, max_tokens=8, tokens=True)
    out = encoder(captions("red", "blue", ""), torch.tensor([True, False, False]))
    assert out.token_mask.sum(dim=1).tolist() == [1, 5, 1]
    assert torch.equal(out.tokens[0, 0], encoder.null)
    assert (out.vector[0] - out.vector[2]).abs().max() > 1e-4


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    pretrained_text.cache_clear()
    with pytest.raises(ValueError, match=r"needs transformers: pip install 'condgen\[text\]'"):
        FrozenTextEncoder(SPEC, "some/model")


@pytest.mark.parametrize("name", ["bert", "clip"])
def test_a_real_text_encoder_of_random_weights(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = pytest.importorskip("transformers", reason="needs the extra 'text'")
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path / "cache"))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "dot"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    hub.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "model")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    if name == "bert":
        net = hub.BertModel(hub.BertConfig(vocab_size=len(words), **small))
    else:
        text = {"vocab_size": len(words), "max_position_embeddings": 16, "eos_token_id": 3, **small}
        vision = {"image_size": 8, "patch_size": 4, **small}
        net = hub.CLIPModel(hub.CLIPConfig(text_config=text, vision_config=vision))
    net.save_pretrained(tmp_path / "model")
    encoder = FrozenTextEncoder(SPEC, str(tmp_path / "model"), width=4, max_tokens=8, tokens=True)
    out = encoder(captions("red", "red dot", "dot dot dot"))
    assert out.token_mask.sum(dim=1).tolist() == [3, 4, 5]
    assert torch.equal(encoder(captions("red dot")).vector[0], out.vector[1])
    assert (out.vector[0] - out.vector[1]).abs().max() > 1e-4
