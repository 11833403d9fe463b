"""Works timed beside each other, in blocks that take turns: what the machine does meanwhile hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import NamedTuple, Protocol

import torch

CONTENDED = 1.05
"""Wall time over processor time above which something else had the core."""
NOISY = 1.1
"""Ratio of equal works in any round, or its inverse, above which the machine was not quiet."""


class Block(NamedTuple):
    """What was done in one block, in how many seconds of the clock and of this process's processors."""

    images: int
    steps: int
    wall: float
    cpu: float


class Work(Protocol):
    """Something that goes on step by step."""

    def block(self, seconds: float, under: AbstractContextManager[object] = nullcontext()) -> Block:  # noqa: B008
        """Take steps for so many seconds, at least one; inside of `under`, in the thread that does the work."""

    def close(self) -> None:
        """End it."""


class Loop:
    """Work of our own.

    Args:
        step: Takes one step and returns how many images it was.
        device: Where it is done.
        around: Surrounds each block, such as a way to keep memory.
    """

    def __init__(
        self,
        step: Callable[[], int],
        device: torch.device | str = "cpu",
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.step = step
        self.device = torch.device(device)
        self.around = around

    def block(self, seconds: float, under: AbstractContextManager[object] = nullcontext()) -> Block:  # noqa: B008
        """Take steps for so many seconds, at least one."""
        images = steps = 0
        with self.around(), under:
            wall, cpu = time.perf_counter(), time.process_time()
            while not steps or time.perf_counter() - wall < seconds:
                images += self.step()
                steps += 1
            finish(self.device)
            return Block(images, steps, time.perf_counter() - wall, time.process_time() - cpu)

    def close(self) -> None:
        """Do nothing."""


def finish(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


class Timing(NamedTuple):
    """The blocks of one work, a block a round."""

    blocks: list[Block]

    @property
    def rates(self) -> list[float]:
        """Images per second of each round."""
        return [block.images / block.wall for block in self.blocks]

    @property
    def images_per_second(self) -> float:
        """Median of the rounds."""
        return median(self.rates)

    @property
    def ms_per_step(self) -> float:
        """Median of the rounds."""
        return median(1000 * block.wall / block.steps for block in self.blocks)

    @property
    def contended(self) -> bool:
        """Whether the blocks waited for their processor for more than 5% of the time; of one thread on a CPU."""
        return sum(block.wall for block in self.blocks) > CONTENDED * sum(block.cpu for block in self.blocks)


class Ratio(NamedTuple):
    """Median, least and most of the ratios of each round."""

    median: float
    least: float
    most: float

    @property
    def noisy(self) -> bool:
        """Whether equal works were not alike in each round."""
        return self.most > NOISY or self.least < 1 / NOISY


def ratio(of: Timing, to: Timing) -> Ratio:
    """Compare images per second, round by round."""
    ratios = [a / b for a, b in zip(of.rates, to.rates, strict=True)]
    return Ratio(median(ratios), min(ratios), max(ratios))


def in_turns(works: Mapping[str, Work], *, rounds: int = 5, seconds: float = 1.0) -> dict[str, Timing]:
    """Time works in rounds of a block of each, every other round in the opposite order; they have been warmed up."""
    blocks: dict[str, list[Block]] = {name: [] for name in works}
    for number in range(rounds):
        for name in list(works)[:: -1 if number % 2 else 1]:
            blocks[name].append(works[name].block(seconds))
    return {name: Timing(done) for name, done in blocks.items()}


def warm_up(work: Work, steps: int = 2) -> list[float]:
    """Take the first steps, which compile and allocate; return the seconds of each."""
    return [work.block(0.0).wall for _ in range(steps)]
