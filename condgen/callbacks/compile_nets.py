"""Nets compiled by `torch.compile`."""

from __future__ import annotations

from collections.abc import Sequence

import lightning as L
from torch import nn


class CompileNets(L.Callback):
    """Compiles some of a model's nets in place, so that names in checkpoints stay as they are.

    The first steps take half a minute and more, and whether later ones are faster depends on net and device:
    `condgen bench train` says.

    Args:
        nets: Parts of the model by name: `generator.net`, `discriminator.net`; `nets.inference.net`,
            `nets.decoder.net`; `denoiser.net`; and `ema.net.net`, which samples, of a VAE `ema.net.decoder.net`.
        backend: Torch's name of the compiler.
    """

    def __init__(self, nets: Sequence[str] = (), backend: str = "inductor") -> None:
        super().__init__()
        self.nets = list(nets)
        self.backend = backend

    def find(self, model: L.LightningModule) -> list[nn.Module]:
        """Return the nets.

        Raises:
            ValueError: If a model has none of that name.
        """
        known = dict(model.named_modules())
        unknown = next((name for name in self.nets if not name or name not in known), None)
        if unknown is not None:
            parts = sorted({name for name in known if name and name.count(".") < 2})
            raise ValueError(f"compile.nets: {type(model).__name__} has no {unknown!r}, but {', '.join(parts[:12])}")
        return [known[name] for name in self.nets]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Compile; the work is done when a net is first applied."""
        for net in self.find(pl_module):
            net.compile(backend=self.backend)
