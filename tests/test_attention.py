from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from condgen.nets.attention import CrossAttention, GroupNorm, attend


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


@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_on_a_cpu_is_attention_too(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(3, 2, 4, 9, 8)
    mask = (torch.arange(9) < 5).view(1, 1, 1, 9) if masked else None
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    halves = [part.bfloat16().requires_grad_() for part in (q, k, v)]
    kernels: list[int] = []
    kernel = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **kw: kernels.append(1) or kernel(*a, **kw))
    out = attend(*halves, mask)
    assert kernels == []
    torch.testing.assert_close(out.float(), expected, rtol=0.05, atol=0.02)
    out.sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in halves)
    torch.testing.assert_close(attend(q, k, v, mask), expected)
    monkeypatch.setattr("condgen.nets.attention.MOST_PAIRS", 80)
    torch.testing.assert_close(attend(*halves, mask).float(), expected, rtol=0.05, atol=0.02)
    assert kernels == [1, 1]


@pytest.mark.parametrize("channels", [32, 64, 128])
def test_group_norm_in_bfloat16_is_as_good_as_its_input(channels: int) -> None:
    layer = GroupNorm(8, channels)
    nn.init.normal_(layer.weight)
    x = torch.randn(4, channels, 6, 6).bfloat16().to(memory_format=torch.channels_last)
    plain = F.group_norm(x.float(), 8, layer.weight, layer.bias)
    out = layer(x)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out.float(), plain, rtol=0.02, atol=0.02)
    torch.testing.assert_close(layer(x.float()), plain)
