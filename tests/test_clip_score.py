"""The CLIP score, on CLIPs of random weights: torchmetrics' values, any size of image, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from evaluate_inputs import EVALUATE, Fails
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchmetrics.functional.multimodal import clip_score

from condgen.callbacks import EvaluateSamples
from condgen.conditions import TextEncoder
from condgen.data import Shapes
from condgen.data.shapes import encode
from condgen.metrics import CLIPScore
from condgen.metrics.clip_score import clip
from condgen.models import CGAN

CAPTIONS = ["a red circle", "a small blue square in the middle, dark", "x", "circle of red"]
LENGTH = 24


def make_clip(folder: Path, seed: int = 0) -> str:
    """Save a CLIP of random weights, for images of 12 pixels, with a tokeniser of characters."""
    hub = pytest.importorskip("transformers", reason="needs the extra 'text'")
    characters = [chr(code) for code in range(33, 127)]
    words = [*characters, *(f"{letter}</w>" for letter in characters), "re", "red</w>"]
    vocabulary = {word: place for place, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    tokeniser = hub.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=LENGTH)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    last = len(vocabulary) - 1
    text = small | {"vocab_size": len(vocabulary), "max_position_embeddings": LENGTH, "bos_token_id": last - 1}
    text |= {"eos_token_id": last, "pad_token_id": last}
    vision = small | {"image_size": 12, "patch_size": 4}
    torch.manual_seed(seed)
    net = hub.CLIPModel(hub.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    net.save_pretrained(folder)
    images = hub.CLIPImageProcessor(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12})
    hub.CLIPProcessor(images, tokeniser).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


def reference(model: str) -> Callable[[], tuple[Any, Any]]:
    """The same CLIP for torchmetrics 1.9, which expects tensors where transformers 5 gives outputs."""
    import transformers as hub

    class Tensors(hub.CLIPModel):  # type: ignore[misc,name-defined]
        def get_image_features(self, *args: Any, **kwargs: Any) -> Tensor:
            found = super().get_image_features(*args, **kwargs)
            return found if isinstance(found, Tensor) else found.pooler_output

        def get_text_features(self, *args: Any, **kwargs: Any) -> Tensor:
            found = super().get_text_features(*args, **kwargs)
            return found if isinstance(found, Tensor) else found.pooler_output

    return lambda: (Tensors.from_pretrained(model).eval(), hub.CLIPProcessor.from_pretrained(model))


def noise(count: int, channels: int, height: int, width: int) -> Tensor:
    source = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, channels, 3, 3, generator=source)
    return (255 * torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)).byte()


def scored(model: str, image: Tensor, captions: list[str]) -> list[float]:
    metric = CLIPScore(model)
    metric.update(image, {"text": encode(captions, 64)}, None)
    assert float(metric.compute()["clip_score"]) == pytest.approx(float(metric.rows[0][:, 0].mean()))
    return metric.rows[0][:, 0].tolist()


@pytest.mark.parametrize("size", [(12, 12), (32, 32), (9, 20), (40, 17)])
def test_values_are_those_of_torchmetrics(size: tuple[int, int], model: str) -> None:
    image, pair = noise(4, 3, *size), reference(model)
    short = [caption for caption in CAPTIONS if len(caption) < LENGTH - 2]
    expected = [clip_score(row, caption, pair).item() for row, caption in zip(image, short, strict=False)]
    found = scored(model, image[: len(short)], short)
    assert found == pytest.approx(expected, abs=1e-3)
    assert len({round(value, 2) for value in expected}) > 1


def test_opposite_directions_count_as_nothing(model: str, tmp_path: Path) -> None:
    image = noise(40, 3, 12, 12)
    captions = [CAPTIONS[k % 4] for k in range(40)]
    opposite = Path(make_clip(tmp_path / "opposite"))
    weights = load_file(opposite / "model.safetensors")
    save_file(weights | {"text_projection.weight": -weights["text_projection.weight"]}, opposite / "model.safetensors")
    mine, theirs = scored(model, image, captions), scored(str(opposite), image, captions)
    assert all((a == 0.0) != (b == 0.0) for a, b in zip(mine, theirs, strict=True))
    assert 5 < max(mine) <= 100


def test_a_sample_s_value_depends_on_nothing_else(model: str) -> None:
    image, captions = noise(35, 3, 16, 16), [CAPTIONS[k % 4] for k in range(35)]
    whole = scored(model, image, captions)
    assert scored(model, image[33:34], captions[33:34]) == whole[33:34]
    assert scored(model, image.flip(0), captions[::-1]) == whole[::-1]


def test_grey_counts_as_colour_and_long_captions_are_cut(model: str) -> None:
    grey = noise(2, 1, 20, 20)
    assert scored(model, grey, CAPTIONS[:2]) == scored(model, grey.expand(-1, 3, -1, -1).contiguous(), CAPTIONS[:2])
    long = "an image of a large and green triangle"
    assert scored(model, grey, [long, long + " that"]) == pytest.approx(scored(model, grey, [long + " or", long]))


def test_the_protocol_names_the_model_by_its_weights(model: str, tmp_path: Path) -> None:
    card = CLIPScore(model).settings["clip"]
    assert (card["name"], card["scale"], card["max_tokens"]) == ("tiny-clip", 100.0, LENGTH)
    assert len(card["sha256"]) == 64
    assert CLIPScore(make_clip(tmp_path / "same")).settings["clip"]["sha256"] == card["sha256"]
    assert CLIPScore(make_clip(tmp_path / "other", seed=1)).settings["clip"]["sha256"] != card["sha256"]


def test_samples_of_captions_are_scored_in_a_run(model: str, make_trainer: Callable[..., L.Trainer]) -> None:
    data = Shapes(n_train=32, n_validation=8, n_test=20, image_size=16, conditions=["text"], batch_size=16)
    callback = EvaluateSamples(obedience=[CLIPScore(model)], n_samples=20)
    net = CGAN(data.image_shape, data.cond_spec, encoder=TextEncoder)
    make_trainer(callbacks=[callback]).test(net, data, verbose=False)
    assert callback.result is not None
    row = callback.result["scores"]["clip_score"]
    assert 0.0 <= row["low"] <= row["value"] <= row["high"] <= 100.0
    assert row["floor"]["draws"] == 1
    assert callback.result["protocol"]["clip"]["name"] == "tiny-clip"
    assert not list(CLIPScore(model).parameters())


# ---------------------------------------------------------------------- what is refused


def test_what_is_no_clip_is_refused_in_a_line(tmp_path: Path, folder: Path, fails: Fails) -> None:
    hub = pytest.importorskip("transformers", reason="needs the extra 'text'")

    def asked(path: object) -> list[object]:
        return [*EVALUATE, folder, "--obedience", f"[{{class_path: CLIPScore, init_args: {{model: {path}}}}}]"]

    (tmp_path / "empty").mkdir()
    assert f"model '{tmp_path}/empty' cannot be loaded as a CLIP: " in fails(*asked(tmp_path / "empty"))
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    hub.BertModel(hub.BertConfig(vocab_size=9, **small)).save_pretrained(tmp_path / "bert")
    fails.capsys.readouterr()  # its progress
    assert f"model '{tmp_path}/bert' is no CLIP, but a bert model" in fails(*asked(tmp_path / "bert"))
    assert "needs model" in fails(*EVALUATE, folder, "--obedience", "[CLIPScore]")


def test_a_clip_that_lacks_a_part_is_refused(tmp_path: Path) -> None:
    bare = Path(make_clip(tmp_path / "bare"))
    weights = load_file(bare / "model.safetensors")
    name = next(iter(sorted(weights)))
    save_file({key: value for key, value in weights.items() if key != name}, bare / "model.safetensors")
    with pytest.raises(ValueError, match=rf"bare' lacks weights, such as {name}"):
        scored(str(bare), noise(1, 3, 12, 12), CAPTIONS[:1])
    (bare / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="bare' cannot be loaded as a CLIP: "):
        scored(str(bare), noise(1, 3, 12, 12), CAPTIONS[:1])


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"CLIPScore needs transformers: pip install 'condgen\[text\]'"):
        CLIPScore("any")


def test_loading_is_late_and_once(model: str) -> None:
    clip.cache_clear()
    CLIPScore(model)
    assert clip.cache_info().currsize == 0
    scored(model, noise(1, 3, 12, 12), CAPTIONS[:1])
    assert clip(model) is clip(model)
