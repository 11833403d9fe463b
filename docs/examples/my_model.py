"""Rectified flow (Liu et al. 2023): a velocity that carries noise to images on straight lines."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condgen.conditions import EncoderFactory, LabelEncoder
from condgen.models import SingleLossModel
from condgen.nets import NetFactory, UNet
from condgen.types import Batch, Condition, CondSpec, Encoded, Shape


class Velocity(nn.Module):
    """A net on (x_t, t) with the condition encoder that it owns."""

    def __init__(self, net: nn.Module, encoder: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.encoder = encoder

    def forward(self, x_t: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """Return the velocity at times t (N,) in [0, 1]."""
        encoded: Encoded = self.encoder(cond)
        return self.net(x_t, 1000 * t, encoded)


class RectifiedFlow(SingleLossModel):
    """Learns x_1 - x_0 at x_t = (1 - t) x_0 + t x_1, x_0 noise and x_1 an image; samples by Euler's method.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module.
        net: Factory of the net.
        encoder: Factory of its condition encoder.
        steps: Steps of Euler's method in `sample`.
        ema_half_life: Half-life in images of the averaged net that samples; null for the raw one.
        sample_chunk: Images per net evaluation in `sample`.
    """

    def __init__(
        self,
        image_shape: Shape,
        cond_spec: CondSpec,
        *,
        net: NetFactory = UNet,
        encoder: EncoderFactory = LabelEncoder,
        steps: int = 20,
        ema_half_life: float | None = 3_000.0,
        sample_chunk: int = 64,
    ) -> None:
        super().__init__(image_shape, cond_spec, optimizer=None, schedule=None, sample_chunk=sample_chunk)
        self.steps = steps
        condition_encoder = encoder(self.cond_spec)
        self.velocity = Velocity(net(self.image_shape, condition_encoder.dims), condition_encoder)
        self.complete(ema_half_life)

    @property
    def trained_net(self) -> Velocity:
        """What the optimizer trains, the average follows and a checkpoint holds."""
        return self.velocity

    @property
    def prior_shape(self) -> Shape:
        """Noise has the image's shape."""
        return self.image_shape

    def train_on(self, batch: Batch) -> Tensor:
        """Return the squared error of the velocity (Liu et al. 2023, Eq. 1)."""
        x_1, cond = batch["image"], batch["cond"]
        x_0, t = torch.randn_like(x_1), torch.rand(len(x_1), device=self.device)
        x_t = torch.lerp(x_0, x_1, t.view(-1, 1, 1, 1))
        loss = (self.velocity(x_t, t, cond).float() - (x_1 - x_0)).square().mean()
        self.losses["train/loss"] = loss.detach()
        return loss

    def generate(self, noise: Tensor, cond: Condition) -> Tensor:
        """Follow the velocity from noise (N, C, H, W) to images in [-1, 1]."""
        x = noise
        for step in range(self.steps):
            t = torch.full((len(x),), step / self.steps, device=x.device)
            x = x + self.sampling_net(x, t, cond) / self.steps
        return x.clamp(-1.0, 1.0)
