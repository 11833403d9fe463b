from __future__ import annotations

import pytest
import torch

from condgen.checks import check_condition
from condgen.conditions import AttributesEncoder, LabelEncoder, NoCondition
from condgen.types import CondDims, Encoded

SPEC = {"label": {"names": ["cat", "dog", "owl"]}}


def test_one_hot_codes_and_their_null() -> None:
    encoder = LabelEncoder(SPEC)
    label, drop = torch.tensor([0, 2, 1]), torch.tensor([False, False, True])
    assert encoder.dims == CondDims(vector=3)
    assert encoder({"label": label}).vector.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert encoder({"label": label}, drop).vector.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert not list(encoder.parameters())


def test_embeddings_learn_a_null_of_their_own() -> None:
    encoder = LabelEncoder(SPEC, embedding_dim=5)
    label = torch.tensor([1, 1])
    vector = encoder({"label": label}, torch.tensor([False, True])).vector
    assert vector.shape == (2, 5)
    assert not torch.equal(vector[0], vector[1])
    vector[1].sum().backward()
    assert encoder.embedding.weight.grad[3].abs().sum() > 0
    assert encoder.embedding.weight.grad[:3].abs().sum() == 0


def test_no_condition_gives_no_route() -> None:
    assert NoCondition(SPEC).dims == CondDims(0, 0, 0)
    assert NoCondition(SPEC)({"label": torch.tensor([1])}) == Encoded()


def test_an_encoder_refuses_data_without_its_key() -> None:
    with pytest.raises(ValueError, match="needs the condition 'label'; the data offers text"):
        LabelEncoder({"text": {"max_length": 64}})
    with pytest.raises(ValueError, match="embedding_dim"):
        LabelEncoder(SPEC, embedding_dim=0)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (torch.tensor([0, 3]), r"\[0, 2\], got 3"),
        (torch.tensor([-1, 1]), r"\[0, 2\], got -1"),
        (torch.tensor([0.0, 1.0]), r"got \(2,\) torch.float32"),
        (torch.tensor([True]), "torch.bool"),
        (torch.tensor([[1]]), r"got \(1, 1\)"),
        (torch.tensor(1), r"got \(\)"),
        (torch.tensor([], dtype=torch.int64), "N >= 1"),
        ([1, 2], "got list"),
    ],
)
def test_bad_labels_are_named_with_the_range(label: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_condition({"label": label}, SPEC, ("label",))


def test_missing_and_unknown_conditions_are_named() -> None:
    with pytest.raises(ValueError, match="'label' is missing"):
        check_condition({}, SPEC, ("label",))
    with pytest.raises(ValueError, match="unknown condition 'text'; the model knows label"):
        check_condition({"text": torch.zeros(1, 4)}, SPEC, ())
    assert check_condition({}, SPEC, ()) is None
    assert check_condition({"label": torch.tensor([1, 2])}, SPEC, ("label",)) == 2


def attributes(*rows: list[float]) -> dict[str, torch.Tensor]:
    return {"attributes": torch.tensor(rows)}


ATTRIBUTES = {"attributes": {"names": ["size", "flag", "same"], "low": [10.0, 0.0, 3.0], "high": [20.0, 1.0, 3.0]}}


def test_attributes_are_scaled_by_the_data_s_range_and_none_is_no_attribute() -> None:
    encoder = AttributesEncoder(ATTRIBUTES)
    rows = attributes([10.0, 1.0, 3.0], [15.0, 0.5, 3.0], [25.0, 0.0, 3.0], [15.0, 0.5, 3.0])
    out = encoder(rows, torch.tensor([False, False, False, True])).vector
    assert encoder.dims == CondDims(vector=4)
    assert out.tolist() == [[-1, 1, 0, 1], [0, 0, 0, 1], [2, -1, 0, 1], [0, 0, 0, 0]]
    assert not list(encoder.parameters())


def test_embedded_attributes_learn_a_null_of_their_own() -> None:
    encoder = AttributesEncoder(ATTRIBUTES, embedding_dim=6)
    rows = attributes([10.0, 1.0, 3.0], [10.0, 1.0, 3.0], [12.0, 1.0, 3.0])
    out = encoder(rows, torch.tensor([False, True, False])).vector
    assert out.shape == (3, 6) == (3, encoder.dims.vector)
    assert torch.equal(out[1], encoder.null)
    assert (out[0] - out[2]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="embedding_dim must be at least 1, or null for no embedding, got 0"):
        AttributesEncoder(ATTRIBUTES, embedding_dim=0)


def test_drops_may_name_keys() -> None:
    encoder, cond = LabelEncoder(SPEC), {"label": torch.tensor([0, 1])}
    drop = torch.tensor([True, False])
    assert torch.equal(encoder(cond, {"label": drop}).vector, encoder(cond, drop).vector)
    assert torch.equal(encoder(cond, {}).vector, encoder(cond).vector)
    with pytest.raises(ValueError, match="drop names 'text'; LabelEncoder reads label"):
        encoder(cond, {"text": drop})
