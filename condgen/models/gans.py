"""The families of adversarial models: their own nets, the shared algorithm."""

from __future__ import annotations

from typing import Any

from condgen.conditions import EncoderFactory, SourceEncoder
from condgen.models.adversarial import AdversarialModel
from condgen.nets import (
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
    PatchDiscriminator,
    Pix2PixGenerator,
)
from condgen.types import CondSpec, Shape


class CGAN(AdversarialModel):
    """Conditional GAN of multilayer perceptrons (Mirza & Osindero 2014)."""

    default_generator = MLPGenerator
    default_discriminator = MLPDiscriminator


class DCGAN(AdversarialModel):
    """Convolutional GAN (Radford et al. 2016), conditional, for square images of 8, 16, 32 ... pixels."""

    default_generator = DCGANGenerator
    default_discriminator = DCGANDiscriminator


class Pix2Pix(AdversarialModel):
    """Translation of pictures by pairs (Isola et al. 2017), for square images of 8, 16, 32 ... pixels.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module.
        encoder: Factory of the generator's condition encoder, and of the discriminator's; it gives a map.
        reconstruction_weight: Weight of the mean absolute difference from the real image of the pair.
        kwargs: As of `AdversarialModel`.
    """

    default_generator = Pix2PixGenerator
    default_discriminator = PatchDiscriminator

    def __init__(
        self,
        image_shape: Shape,
        cond_spec: CondSpec,
        *,
        encoder: EncoderFactory = SourceEncoder,
        reconstruction_weight: float = 100.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, cond_spec, encoder=encoder, reconstruction_weight=reconstruction_weight, **kwargs)
