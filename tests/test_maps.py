"""Pictures and masks as conditions, and several conditions at once."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from condgen.conditions import (
    AttributesEncoder,
    Compose,
    ConditionEncoder,
    InpaintingEncoder,
    LabelEncoder,
    LowResEncoder,
    MaskEncoder,
    SourceEncoder,
    StyleEncoder,
    TextEncoder,
)
from condgen.data.shapes import encode
from condgen.types import CondDims, Condition, CondSpec

SPEC: CondSpec = {
    "label": {"names": ["cat", "dog", "owl"]},
    "attributes": {"names": ["size"], "low": [0.0], "high": [2.0]},
    "text": {"max_length": 16, "words": ["red", "dot"]},
    "source": {"channels": 3, "paired": True},
    "known": {},
    "low_res": {"channels": 3, "factor": 4},
    "mask": {"num_classes": 5},
    "style": {"channels": 3},
}
N = 4


def conditions() -> Condition:
    return {
        "label": torch.tensor([0, 1, 2, 0]),
        "attributes": torch.tensor([[0.0], [1.0], [2.0], [1.5]]),
        "text": encode(["red", "dot", "red dot", ""], 16),
        "source": torch.rand(N, 3, 16, 16) * 2 - 1,
        "known": (torch.rand(N, 1, 16, 16) > 0.5).float(),
        "low_res": torch.rand(N, 3, 4, 4) * 2 - 1,
        "mask": torch.randint(5, (N, 16, 16)),
        "style": torch.rand(N, 3, 16, 16) * 2 - 1,
    }


@pytest.mark.parametrize("make", [SourceEncoder, LowResEncoder, MaskEncoder, InpaintingEncoder])
def test_maps_have_the_image_s_size_and_a_null_of_zeros(make: type[ConditionEncoder]) -> None:
    encoder, cond = make(SPEC), conditions()
    drop = torch.tensor([False, True, False, False])
    whole, out = encoder(cond).spatial, encoder(cond, drop).spatial
    assert whole.shape == (N, encoder.dims.spatial, 16, 16)
    assert encoder.dims == CondDims(spatial=whole.shape[1])
    assert torch.equal(out[~drop], whole[~drop])
    assert (out[drop] == 0).all()
    assert not list(encoder.parameters())


def test_a_grey_picture_is_not_no_picture() -> None:
    grey = {"source": torch.zeros(1, 3, 16, 16), "low_res": torch.zeros(1, 3, 4, 4)}
    for make in (SourceEncoder, LowResEncoder):
        assert make(SPEC)(grey).spatial.abs().sum() > 0


def test_masks_become_a_map_for_each_class() -> None:
    mask = torch.tensor([[[0, 4], [2, 2]]])
    spatial = MaskEncoder(SPEC)({"mask": mask.byte()}).spatial
    assert torch.equal(spatial.argmax(dim=1), mask)
    assert (spatial.sum(dim=1) == 1).all()


def test_small_pictures_are_enlarged_bilinearly() -> None:
    ramp = torch.arange(4.0).expand(1, 3, 4, 4) / 4
    spatial = LowResEncoder(SPEC)({"low_res": ramp}).spatial
    place = (torch.arange(16) + 0.5) / 4 - 0.5  # of pixel centres, in pixels of the small picture
    torch.testing.assert_close(spatial[0, 0, 5], place.clamp(0, 3) / 4)


def test_what_is_to_be_filled_in_is_never_seen() -> None:
    encoder, cond = InpaintingEncoder(SPEC), conditions()
    other = cond | {"source": torch.where(cond["known"] > 0, cond["source"], torch.nan)}
    out = encoder(cond).spatial
    assert torch.equal(encoder(other).spatial, out)
    assert torch.equal(out[:, :3], cond["source"] * cond["known"])
    assert torch.equal(out[:, 3:], cond["known"])
    assert (encoder(cond, {"known": torch.ones(N, dtype=torch.bool)}).spatial == 0).all()


def test_styles_become_vectors_that_forget_places() -> None:
    encoder, cond = StyleEncoder(SPEC, width=8, channels=4), conditions()
    out = encoder(cond, torch.tensor([True, False, False, False])).vector
    assert out.shape == (N, 8) == (N, encoder.dims.vector)
    assert torch.equal(out[0], encoder.null)
    assert (out[1] - out[2]).abs().max() > 1e-4
    assert encoder({"style": torch.rand(2, 3, 20, 12)}).vector.shape == (2, 8)
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        StyleEncoder(SPEC, channels=0)


def test_composed_routes_are_concatenated() -> None:
    text = partial(TextEncoder, width=8, tokens=True)
    encoder, cond = Compose(SPEC, [LabelEncoder, text, MaskEncoder, AttributesEncoder, SourceEncoder]), conditions()
    out = encoder(cond)
    label, words, mask, attributes, source = (each(cond) for each in encoder.encoders)
    assert encoder.keys == ("label", "text", "mask", "attributes", "source")
    assert encoder.dims == CondDims(3 + 8 + 2, 8, 5 + 4)
    assert torch.equal(out.vector, torch.cat([label.vector, words.vector, attributes.vector], dim=1))
    assert torch.equal(out.spatial, torch.cat([mask.spatial, source.spatial], dim=1))
    assert torch.equal(out.tokens, words.tokens)
    assert torch.equal(out.token_mask, words.token_mask)
    twice = Compose(SPEC, [text, text])(cond)
    assert twice.tokens.shape == (N, 2 * words.tokens.shape[1], 8)
    assert torch.equal(twice.token_mask, words.token_mask.repeat(1, 2))
    assert Compose(SPEC, [LabelEncoder])(cond).tokens is None


def test_each_composed_condition_can_be_dropped_alone() -> None:
    encoder, cond = Compose(SPEC, [LabelEncoder, MaskEncoder]), conditions()
    drop = torch.tensor([True, False, True, False])

    def dropped(out: Tensor) -> list[bool]:
        return (out.flatten(1).abs().sum(dim=1) == 0).tolist()

    for keys in (["label"], ["mask"], ["label", "mask"], []):
        out = encoder(cond, dict.fromkeys(keys, drop))
        assert dropped(out.vector) == (drop.tolist() if "label" in keys else [False] * N)
        assert dropped(out.spatial) == (drop.tolist() if "mask" in keys else [False] * N)
    both = encoder(cond, drop)
    assert dropped(both.vector) == dropped(both.spatial) == drop.tolist()
    nested = Compose(SPEC, [partial(Compose, encoders=[LabelEncoder, MaskEncoder]), SourceEncoder])
    assert dropped(nested(cond, {"label": drop}).vector) == drop.tolist()
    with pytest.raises(ValueError, match="drop names 'text'; Compose reads label, mask"):
        encoder(cond, {"text": drop})


def test_what_cannot_be_composed_is_named() -> None:
    with pytest.raises(ValueError, match="encoders must name at least one encoder"):
        Compose(SPEC, [])
    texts = [partial(TextEncoder, width=width, tokens=True) for width in (16, 8)]
    with pytest.raises(ValueError, match="all tokens must be of one width, got encoders with 8 and 16"):
        Compose(SPEC, texts)
    with pytest.raises(ValueError, match="MaskEncoder needs the condition 'mask'; the data offers label"):
        Compose({"label": SPEC["label"]}, [LabelEncoder, MaskEncoder])


@pytest.mark.parametrize("make", [partial(AttributesEncoder, embedding_dim=4), StyleEncoder, TextEncoder])
def test_every_parameter_has_a_gradient_though_nothing_is_dropped(make: type[ConditionEncoder]) -> None:
    encoder = make(SPEC)
    encoder(conditions()).vector.square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
