"""The families of adversarial models: their own nets, the shared algorithm."""

from __future__ import annotations

from condgen.models.adversarial import AdversarialModel
from condgen.nets import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator


class CGAN(AdversarialModel):
    """Conditional GAN of multilayer perceptrons (Mirza & Osindero 2014)."""

    default_generator = MLPGenerator
    default_discriminator = MLPDiscriminator


class DCGAN(AdversarialModel):
    """Convolutional GAN (Radford et al. 2016), conditional, for square images of 8, 16, 32 ... pixels."""

    default_generator = DCGANGenerator
    default_discriminator = DCGANDiscriminator
