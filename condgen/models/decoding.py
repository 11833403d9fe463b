"""The nets of a variational autoencoder, and what becomes of the decoder's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from condgen.models.players import ConditionedNet
from condgen.objectives import Likelihood
from condgen.seeding import RowNoise


@dataclass(frozen=True)
class DecoderSampler:
    """Turns the decoder's output into an image.

    Args:
        draw: Draw each pixel from the likelihood; false for its mean, the picture that is usually shown.
    """

    draw: bool = False

    def __call__(self, likelihood: Likelihood, params: Tensor, z: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [-1, 1]; what is drawn for row i is a function of z[i] alone."""
        mean = likelihood.mean(params)
        return likelihood.draw(params, RowNoise(z)(*mean.shape[1:])) if self.draw else mean

    def draft(self) -> DecoderSampler:
        """Return a sampler that shows what z changes alone: the likelihood's mean."""
        return DecoderSampler()


class VAENets(nn.Module):
    """The two nets of a variational autoencoder, each with the condition encoder that it owns."""

    def __init__(self, inference: ConditionedNet, decoder: ConditionedNet) -> None:
        super().__init__()
        widths = {"the inference net": inference.net.latent_dim, "the decoder": decoder.net.latent_dim}
        if len(set(widths.values())) > 1:
            stated = " and ".join(f"{width} in {name}" for name, width in widths.items())
            raise ValueError(f"latent_dim must be the same in both nets, got {stated}")
        self.inference = inference
        self.decoder = decoder
        self.latent_dim = cast(int, decoder.net.latent_dim)
