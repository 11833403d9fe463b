"""What `condgen bench` sets beside a config's works: the same done plainly, as tutorials and scripts have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import linalg
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from condgen.bench import Loop
from condgen.cli.lightning import CLI
from condgen.metrics.base import Features
from condgen.models import GenerativeModel
from condgen.models.players import ConditionedNet
from condgen.seeding import generator
from condgen.types import Shape

MOST = 10_000
"""Images that the loader of single images has."""


class SingleImages(Dataset[tuple[Tensor, int]]):
    """Images that are opened and transformed one by one."""

    def __init__(self, pixels: Tensor, label: Tensor, shape: Shape) -> None:
        self.pixels, self.label = pixels.permute(0, 2, 3, 1).squeeze(-1).numpy(), label.tolist()
        middle = [0.5] * shape[0]
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(middle, middle)])

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.label)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """Return one in [-1, 1]."""
        return self.transform(Image.fromarray(self.pixels[place])), self.label[place]


def one_by_one(cli: CLI) -> Loop:
    """Return the training images by torch's own loader in this process, each transformed by itself."""
    images = cli.datamodule.images("train")
    rows = images.take(torch.arange(min(MOST, len(images))))
    label = rows.cond["label"] if "label" in rows.cond else torch.zeros(len(rows.pixels), dtype=torch.int64)
    singles = SingleImages(rows.pixels, label, cli.datamodule.image_shape)
    loader = DataLoader(singles, cli.datamodule.batch_size, shuffle=True, generator=generator("bench"))

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    endless = batches()
    return Loop(lambda: len(next(endless)[0]))


def nets_alone(model: GenerativeModel, cond: dict[str, Tensor], seeds: Tensor) -> Loop:
    """Return the evaluations of nets that a chunk of samples takes, and nothing else."""
    calls: list[tuple[nn.Module, tuple[Any, ...]]] = []

    def note(net: nn.Module, args: tuple[Any, ...]) -> None:
        calls.append((net, args))

    nets = [part.net for part in model.sampling_net.modules() if isinstance(part, ConditionedNet)]
    hooks = [net.register_forward_pre_hook(note) for net in nets]
    model.sample(cond, seeds=seeds)
    for hook in hooks:
        hook.remove()
    model.sampling_net.eval()
    half = model.half_samples

    @torch.no_grad()
    def step() -> int:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=half):
            for net, args in calls:
                net(*args)
        return len(seeds)

    return Loop(step, model.device)


def by_square_root(real: Features, fake: Features) -> Loop:
    """Return the Fréchet distance by numpy's covariances and scipy's root of their product (Heusel et al. 2017)."""
    sides = [side.features.double().cpu().numpy() for side in (real, fake)]

    def step() -> int:
        means, covariances = zip(*((side.mean(0), np.cov(side.T)) for side in sides), strict=True)
        root = linalg.sqrtm(covariances[0] @ covariances[1])
        float(np.square(means[0] - means[1]).sum() + np.trace(sum(covariances) - 2 * root.real))
        return len(sides[1])

    return Loop(step)
