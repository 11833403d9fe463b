"""What some families can do beside sampling; callbacks ask by `isinstance`, and need no base class for it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from condgen.types import Batch


@runtime_checkable
class Reconstructs(Protocol):
    """Can give an image back from what it keeps of it."""

    def reconstruct(self, batch: Batch) -> Tensor:
        """Return images (N, C, H, W) in [-1, 1] like those of the batch."""


@runtime_checkable
class Encodes(Protocol):
    """Can say which latent variables an image may have come from."""

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z|x, c), (N, latent_dim) each."""


@runtime_checkable
class BoundsLikelihood(Protocol):
    """Can bound the log-likelihood of images from below."""

    @property
    def likelihood_unit(self) -> str:
        """What the likelihood is reported in: `bits/dim`, or nats of what."""

    def bounds(self, batch: Batch, samples: int) -> dict[str, Tensor]:
        """Return `elbo` and `iwae`, (N,) nats each, by `samples` draws of the latent variable per image."""
