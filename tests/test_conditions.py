from __future__ import annotations

import pytest
import torch

from condgen.checks import check_condition
from condgen.conditions import LabelEncoder, NoCondition
from condgen.types import CondDims

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
    assert NoCondition(SPEC)({"label": torch.tensor([1])}) == (None, None, None)


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
