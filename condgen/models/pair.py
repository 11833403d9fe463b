"""A generator and a discriminator that fit each other and the data."""

from __future__ import annotations

from typing import cast

from condgen.conditions import ConditionEncoder
from condgen.models.auxiliary import auxiliary
from condgen.models.players import ConditionedNet, Discriminator
from condgen.models.roles import require_judgement, require_output, require_width
from condgen.nets import NetFactory
from condgen.types import CondSpec, Shape


def make_players(
    nets: tuple[NetFactory, NetFactory],
    encoders: tuple[ConditionEncoder, ConditionEncoder],
    shape: Shape,
    classified: CondSpec,
) -> tuple[ConditionedNet, Discriminator]:
    """Make the generator and the discriminator, in this order, each with its encoder.

    Args:
        nets: Factories of their nets.
        encoders: Their encoders.
        shape: Of the images.
        classified: Conditions that an auxiliary classifier may tell; it tells one that the generator is asked for.

    Raises:
        ValueError: If a net is not what its role needs.
    """
    net_g, net_d = (make(shape, encoder.dims) for make, encoder in zip(nets, encoders, strict=True))
    latent_dim = require_width("generator", net_g, "latent_dim")
    require_output("generator", net_g, {"z": (latent_dim,)}, encoders[0].dims, shape, shape)
    require_judgement(net_d, encoders[1].dims, shape)
    keys = [key for key in encoders[0].keys if key in classified]
    classifier = auxiliary(keys, classified, shape, cast(int, net_d.feature_dim))
    return ConditionedNet(net_g, encoders[0]), Discriminator(net_d, encoders[1], classifier)
