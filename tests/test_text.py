"""Captions: their tokens, and what encoders make of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from condgen.conditions import TextEncoder
from condgen.conditions.tokenisers import NULL, PADDING, START, UNKNOWN, Bytes, Words, make_tokeniser
from condgen.data import Shapes
from condgen.data.shapes import decode, encode
from condgen.data.shapes.words import MAX_WORDS
from condgen.words import split_words, vocabulary

SPEC = {"text": {"max_length": 32, "words": ["a", "red", "blue", "dot", "plus-sign", ",", "grün"]}}


def captions(*texts: str) -> dict[str, Tensor]:
    return {"text": encode([*texts], 32)}


def test_words_are_small_and_hyphens_and_marks_stand_alone() -> None:
    assert split_words("A red, medium-sized Dot_2!") == ["a", "red", ",", "medium", "-", "sized", "dot", "_", "2", "!"]


def test_captions_become_numbers_of_words() -> None:
    tokenise = make_tokeniser(SPEC["text"], None)
    assert isinstance(tokenise, Words)
    assert tokenise.length == 17
    names = {number: word for word, number in tokenise.numbers.items()}
    numbers = tokenise(captions("A red, GRÜN plus-sign", "")["text"])
    assert numbers.shape == (2, 17)
    assert [names[n] for n in numbers[0, 1:8].tolist()] == ["a", "red", ",", "grün", "plus", "-", "sign"]
    assert numbers[0, 0] == numbers[1, 0] == START
    assert (numbers[0, 8:] == PADDING).all()
    assert (numbers[1, 1:] == PADDING).all()
    assert int(numbers.max()) == tokenise.count - 1


def test_unknown_words_and_long_captions_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    tokenise = make_tokeniser(SPEC["text"], 4)
    text = captions("a pink dot", "red")["text"]
    numbers = tokenise(text)
    assert numbers[0, 2] == UNKNOWN
    assert not (numbers[1] == UNKNOWN).any()
    assert torch.equal(tokenise(text), numbers)
    assert torch.equal(make_tokeniser(SPEC["text"], 4)(text), numbers)
    assert caplog.text.count("captions do not have 'pink'") == 1
    tokenise(captions("a a a a dot")["text"])
    assert caplog.text.count("of 5 words only the first 3 are read: 'a a a a dot'") == 1


def test_bytes_are_the_tokens_where_the_data_lists_no_words() -> None:
    tokenise = make_tokeniser({"max_length": 32}, None)
    assert isinstance(tokenise, Bytes)
    numbers = tokenise(captions("é", "ab")["text"])
    assert numbers.shape == (2, 33)
    assert numbers[:, :4].tolist() == [[START, 4 + 0xC3, 4 + 0xA9, PADDING], [START, 4 + 97, 4 + 98, PADDING]]
    assert make_tokeniser({"max_length": 32}, 3)(captions("abcdef")["text"]).tolist() == [[START, 4 + 97, 4 + 98]]


@pytest.mark.parametrize("n_objects", [1, 2])
def test_shapes_list_the_words_of_all_their_captions(n_objects: int) -> None:
    data = Shapes(2000, 1, 1, image_size=16, n_objects=n_objects, conditions=["text"])
    text = data.images("train").cond["text"]
    numbers = make_tokeniser(data.cond_spec["text"], None)(text)
    words = set().union(*map(split_words, decode(text)))
    assert not (numbers == UNKNOWN).any()
    assert int((numbers != PADDING).sum(dim=1).max()) <= 1 + MAX_WORDS[n_objects - 1]
    other = Shapes(2000, 1, 1, image_size=16, n_objects=3 - n_objects, conditions=["text"]).images("train").cond["text"]
    assert words | set().union(*map(split_words, decode(other))) == set(data.cond_spec["text"]["words"])


@pytest.mark.parametrize("spec", [SPEC, {"text": {"max_length": 32}}])
def test_what_is_made_of_a_caption_depends_on_it_alone(spec: dict) -> None:
    encoder = TextEncoder(spec, width=16, heads=2, tokens=True).eval()
    short, both = encoder(captions("red dot")), encoder(captions("red dot", "a red, a red, a blue plus-sign"))
    torch.testing.assert_close(short.vector[0], both.vector[0])
    torch.testing.assert_close(short.tokens[0], both.tokens[0])
    assert encoder.dims == (16, 16, 0)
    assert both.tokens.shape == (2, encoder.tokenise.length, 16)
    assert (both.vector[0] - both.vector[1]).abs().max() > 1e-3
    reordered = encoder(captions("dot red")).vector[0]
    assert (both.vector[0] - reordered).abs().max() > 1e-4
    torch.testing.assert_close(both.tokens.norm(dim=2), torch.full_like(both.tokens[..., 0], 4.0), atol=1e-2, rtol=0)


def test_padding_changes_no_token_and_no_vector() -> None:
    encoder = TextEncoder(SPEC, width=16, heads=2, tokens=True)
    before = encoder(captions("red dot"))
    with torch.no_grad():
        encoder.transformer.embedding.weight[PADDING] += 5.0
        encoder.transformer.positions[3:] -= 7.0
    after = encoder(captions("red dot"))
    mask = before.token_mask[0]
    assert mask.tolist() == [True] * 3 + [False] * (len(mask) - 3)
    assert torch.equal(before.vector, after.vector)
    assert torch.equal(before.tokens[0, mask], after.tokens[0, mask])


def test_dropped_captions_become_one_learned_token() -> None:
    encoder = TextEncoder(SPEC, width=16, heads=2, tokens=True)
    out = encoder(captions("red dot", "a blue dot", "red dot"), torch.tensor([True, True, False]))
    assert torch.equal(out.tokens[0], out.tokens[1])
    assert torch.equal(out.vector[0], out.vector[1])
    assert (out.vector[0] - out.vector[2]).abs().max() > 1e-3
    assert (out.vector[0] - encoder(captions("")).vector[0]).abs().max() > 1e-3
    assert out.token_mask.sum(dim=1).tolist() == [1, 1, 3]
    out.vector[0].square().sum().backward(retain_graph=True)
    out.vector[0, 0].backward()
    assert encoder.transformer.embedding.weight.grad[NULL].abs().sum() > 0
    assert encoder.transformer.embedding.weight.grad[START:NULL].abs().sum() == 0


def test_tokens_are_given_where_asked_for_alone() -> None:
    out = TextEncoder(SPEC, width=16, heads=2)(captions("red dot"))
    assert out.tokens is out.token_mask is None


def test_bad_sizes_are_named() -> None:
    for name in ("width", "depth", "heads"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            TextEncoder(SPEC, **{name: 0})
    with pytest.raises(ValueError, match="width must be divisible by heads, got 64 and 5"):
        TextEncoder(SPEC, heads=5)
    with pytest.raises(ValueError, match="max_tokens must be at least 2, or null, got 1"):
        TextEncoder(SPEC, max_tokens=1)


def test_a_vocabulary_is_what_occurs_more_than_once() -> None:
    assert vocabulary(["A dog.", "a cat, a dog"]) == (["a", "dog"], 5)
    assert vocabulary(["one two"]) == (["one", "two"], 2)
    assert vocabulary(["a a b b b c c"], most=2)[0] == ["a", "b"]


def test_captions_that_differ_in_a_word_are_as_far_apart_as_one_hot_codes_of_it() -> None:
    spec = {"text": {"max_length": 40, "words": ["a", "big", "red", "blue", "box", "on", "top"], "max_words": 10}}
    encoder = TextEncoder(spec, width=256)
    captions = [b"a big red box on top", b"a big blue box on top", b"a red box"]
    text = torch.tensor([list(caption.ljust(40, b"\0")) for caption in captions], dtype=torch.uint8)
    red, blue, short = encoder({"text": text}).vector.detach()
    assert float((red - blue).norm()) == pytest.approx(2**0.5, rel=0.15)
    assert float((red - short).norm()) == pytest.approx(3**0.5, rel=0.5)
