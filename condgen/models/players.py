"""Nets with the condition encoders that they own, and the states they are put into for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from condgen.conditions import ConditionEncoder
from condgen.nets import Judgement
from condgen.nets.layers import MinibatchStd
from condgen.types import Condition, Encoded


class ConditionedNet(nn.Module):
    """A net with the condition encoder that it alone owns and trains."""

    def __init__(self, net: nn.Module, encoder: ConditionEncoder) -> None:
        super().__init__()
        self.net = net
        self.encoder = encoder

    def forward(self, x: Tensor, cond: Condition) -> Any:
        """Encode the raw condition and apply the net to `x` with it."""
        encoded: Encoded = self.encoder(cond)
        return self.net(x, encoded)


class Discriminator(ConditionedNet):
    """A discriminator net with its encoder and, beside it, an auxiliary classifier.

    Attributes:
        compares: Whether what it says of an image depends on the others of the batch.
    """

    def __init__(self, net: nn.Module, encoder: ConditionEncoder, classifier: nn.Module | None = None) -> None:
        super().__init__(net, encoder)
        self.compares = any(isinstance(module, _BatchNorm | MinibatchStd) for module in self.modules())
        self.classifier = classifier

    def judge_both(self, real: Tensor, fake: Tensor, cond: Condition) -> tuple[Judgement, Judgement]:
        """Judge real and generated images of the same conditions, in one pass unless that would mix the two."""
        if self.compares:
            return self(real, cond), self(fake, cond)
        both: Judgement = self(torch.cat([real, fake]), {key: torch.cat([value] * 2) for key, value in cond.items()})
        on_real, on_fake = zip(*(part.chunk(2) for part in both), strict=True)
        return Judgement(*on_real), Judgement(*on_fake)


def compile_nets(module: nn.Module) -> None:
    """Compile in place all nets of a module that have an encoder; the work is done when they are first applied."""
    for part in module.modules():
        if isinstance(part, ConditionedNet):
            part.net.compile()


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Keep gradients out of parameters that are trained otherwise, while they still pass through their net."""
    for p in parameters:
        p.requires_grad = False
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad = True


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Put a net into evaluation mode and restore the mode of each of its modules."""
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
