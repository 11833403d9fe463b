from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from condgen.nets.attention import CrossAttention


def cross_attention(channels: int = 64, tokens: int = 10) -> CrossAttention:
    layer = CrossAttention(channels, tokens)
    nn.init.normal_(layer.out.weight, std=channels**-0.5)
    return layer


def test_cross_attention_is_softmax_of_pixels_and_tokens() -> None:
    layer = cross_attention()
    x, tokens = torch.randn(2, 64, 3, 5), torch.randn(2, 7, 10)
    q = layer.query(layer.norm(x).flatten(2).transpose(1, 2))
    k, v = layer.key_value(tokens).chunk(2, dim=2)
    mixed = []
    for head in (slice(0, 32), slice(32, 64)):
        weights = F.softmax(q[..., head] @ k[..., head].transpose(1, 2) / 32**0.5, dim=-1)
        mixed.append(weights @ v[..., head])
    expected = x + layer.out(torch.cat(mixed, dim=-1)).transpose(1, 2).view_as(x)
    torch.testing.assert_close(layer(x, tokens, None), expected)


def test_cross_attention_ignores_padding_and_begins_as_the_identity() -> None:
    layer, x, tokens = cross_attention(), torch.randn(2, 64, 4, 4), torch.randn(2, 7, 10)
    mask = torch.tensor([True, True, False, True, False, False, False]).expand(2, -1)
    out = layer(x, tokens, mask)
    torch.testing.assert_close(out, layer(x, tokens[:, [0, 1, 3]], None))
    assert torch.equal(layer(x, torch.where(mask[:, :, None], tokens, 1e4), mask), out)
    assert (layer(x, tokens.flip(0), mask) - out).abs().max() > 1e-3
    assert torch.equal(CrossAttention(64, 10)(x, tokens, mask), x)
