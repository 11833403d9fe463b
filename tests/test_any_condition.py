"""Any family takes any condition: a step of training, and samples that follow the condition; or the reason why not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.checkpoints import load_model
from condgen.conditions import (
    AttributesEncoder,
    Compose,
    EncoderFactory,
    InpaintingEncoder,
    LabelEncoder,
    LowResEncoder,
    MaskEncoder,
    NoCondition,
    SourceEncoder,
    StyleEncoder,
    TextEncoder,
)
from condgen.data import ImageSet
from condgen.data.base import ImageDataModule
from condgen.data.shapes import ShapesImages
from condgen.models import CGAN, DCGAN, DDPM, VAE, GenerativeModel
from condgen.models.auxiliary import MaskAuxiliary
from condgen.nets import (
    ConvDecoder,
    ConvEncoder,
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDecoder,
    MLPDiscriminator,
    MLPEncoder,
    MLPGenerator,
    ResNetDiscriminator,
    ResNetGenerator,
    UNet,
)
from condgen.objectives import DiffAugment
from condgen.pixels import conditions_to_model, to_model_range, to_uint8
from condgen.processes import DPMSolver
from condgen.types import Condition

Family = Callable[..., GenerativeModel]

FAMILIES: dict[str, Family] = {
    "cgan": partial(
        CGAN,
        generator=partial(MLPGenerator, latent_dim=8, hidden=(16,)),
        discriminator=partial(MLPDiscriminator, hidden=(16,), projection=True),
    ),
    "dcgan": partial(
        DCGAN,
        generator=partial(DCGANGenerator, latent_dim=8, width=4),
        discriminator=partial(DCGANDiscriminator, width=4, projection=True, spectral_norm="all"),
    ),
    "dcgan_planes": partial(
        DCGAN,
        generator=partial(DCGANGenerator, latent_dim=8, width=4, conditional_norm=False),
        discriminator=partial(DCGANDiscriminator, width=4),
    ),
    "resnet_gan": partial(
        DCGAN,
        generator=partial(ResNetGenerator, latent_dim=8, width=4),
        discriminator=partial(ResNetDiscriminator, width=4),
    ),
    "vae": partial(
        VAE,
        inference=partial(ConvEncoder, latent_dim=4, width=4, hidden=16),
        decoder=partial(ConvDecoder, latent_dim=4, width=4, hidden=16),
    ),
    "mlp_vae": partial(
        VAE,
        inference=partial(MLPEncoder, latent_dim=4, hidden=(16,)),
        decoder=partial(MLPDecoder, latent_dim=4, hidden=(16,)),
    ),
    "ddpm": partial(
        DDPM,
        net=partial(UNet, width=8, multipliers=(1, 2), blocks=1, attention=(8,)),
        sampler=DPMSolver(2, guidance=1.5),
        condition_dropout=0.5,
    ),
}
small_text = partial(TextEncoder, width=8, depth=1, heads=2)
ENCODERS: dict[str, EncoderFactory] = {
    "label": LabelEncoder,
    "attributes": AttributesEncoder,
    "embedded_attributes": partial(AttributesEncoder, embedding_dim=8),
    "text": small_text,
    "mask": MaskEncoder,
    "source": SourceEncoder,
    "low_res": LowResEncoder,
    "inpainting": InpaintingEncoder,
    "style": partial(StyleEncoder, width=8, channels=4),
    "compose": partial(Compose, encoders=[LabelEncoder, small_text, MaskEncoder]),
}
WITH_TOKENS: dict[str, EncoderFactory] = {
    "tokens": partial(small_text, tokens=True),
    "composed_tokens": partial(Compose, encoders=[MaskEncoder, partial(small_text, tokens=True)]),
}
SEEDS = torch.tensor([3, 4])


class Everything(ImageDataModule):
    """Shapes of 16 pixels with every kind of condition; half of each source is known, the next image sets the style."""

    def __init__(self) -> None:
        super().__init__(batch_size=8, eval_batch_size=8, augment=None)
        keys = ("label", "attributes", "text", "mask", "source", "low_res")
        self.shapes = ShapesImages(0, "train", 16, image_size=16, conditions=keys, source="sketch")
        self.image_shape = self.shapes.image_shape
        self.cond_spec = self.shapes.cond_spec | {"known": {}, "style": {"channels": 3}}

    def load(self, split: str) -> ImageSet:
        drawn = self.shapes.all()
        known = (torch.arange(16) < 8).to(torch.uint8).expand(16, 1, 16, 16)
        return ImageSet(drawn.pixels, drawn.cond | {"known": known, "style": drawn.pixels.roll(1, dims=0)})


@pytest.fixture(scope="module")
def data() -> Everything:
    return Everything()


@pytest.fixture(scope="module")
def conds(data: Everything) -> tuple[Condition, Condition]:
    """Two conditions of two images each, which differ in every key."""
    cond = conditions_to_model(data.images("train").cond)
    one, other = ({key: value[rows] for key, value in cond.items()} for rows in ([0, 1], [2, 3]))
    other["known"] = 1 - one["known"]
    other["label"] = (one["label"] + 1) % 4
    return one, other


def stirred(model: GenerativeModel) -> GenerativeModel:
    """Break what begins at zero, in the nets that train and in their average."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return model


@torch.no_grad()
def observed(model: GenerativeModel, image: Tensor, cond: Condition) -> Tensor:
    """What the net that looks at images makes of each under a condition, (N,)."""
    model.eval()
    if isinstance(model, VAE):
        return model.nets.inference(image, cond)[0][:, 0]
    return model.discriminator(image, cond).logits


def check(model: GenerativeModel, data: Everything, conds: tuple[Condition, Condition], trainer: L.Trainer) -> None:
    """Train for a batch, then change what the model reads, and what it does not."""
    before = {name: value.clone() for name, value in model.trained_net.named_parameters()}
    trainer.fit(model, data)
    assert model.batches_seen == 1
    after = dict(model.trained_net.named_parameters())
    assert any(not torch.equal(before[name], after[name]) for name in before)
    one, other = conds
    stirred(model)
    images = model.sample(one, seeds=SEEDS)
    assert images.shape == (2, 3, 16, 16)
    assert torch.isfinite(images).all()
    assert torch.equal(model.sample(one, seeds=SEEDS), images)
    unread = other | {key: one[key] for key in model.condition_keys}
    assert torch.equal(model.sample(unread, seeds=SEEDS), images)
    alone = model.sample({key: value[1:] for key, value in one.items()}, seeds=SEEDS[1:])
    assert torch.equal(to_uint8(alone), to_uint8(images[1:]))
    for key in model.condition_keys:
        changed = one | {key: other[key]}
        assert ((model.sample(changed, seeds=SEEDS) - images).abs().amax(dim=(1, 2, 3)) > 1e-3).all(), key
        if not isinstance(model, DDPM):
            assert ((observed(model, images, changed) - observed(model, images, one)).abs() > 1e-5).all(), key
    model.raw = True
    model.generate(model.prior(SEEDS), one).square().sum().backward()
    read = {name: p.grad for name, p in model.trained_net.named_parameters() if "encoder." in name}
    idle = [name for name, grad in read.items() if grad is None or not grad.any()]
    assert all("null" in name or name.startswith("inference.") for name in idle), idle


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_follows_every_condition(
    family: str,
    encoder: str,
    data: Everything,
    conds: tuple[Condition, Condition],
    make_trainer: Callable[..., L.Trainer],
) -> None:
    model = FAMILIES[family](data.image_shape, data.cond_spec, encoder=ENCODERS[encoder])
    check(model, data, conds, make_trainer(max_steps=1))


@pytest.mark.parametrize("encoder", WITH_TOKENS)
def test_a_unet_attends_to_tokens(
    encoder: str, data: Everything, conds: tuple[Condition, Condition], make_trainer: Callable[..., L.Trainer]
) -> None:
    model = FAMILIES["ddpm"](data.image_shape, data.cond_spec, encoder=WITH_TOKENS[encoder])
    check(model, data, conds, make_trainer(max_steps=1))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_in_mixed_precision(
    family: str, data: Everything, make_trainer: Callable[..., L.Trainer]
) -> None:
    encoders = [*ENCODERS.values(), *([WITH_TOKENS["tokens"]] if family == "ddpm" else [])]
    model = FAMILIES[family](data.image_shape, data.cond_spec, encoder=partial(Compose, encoders=encoders))
    make_trainer(max_steps=2, precision="bf16-mixed").fit(model, data)
    assert model.batches_seen == 2


@pytest.mark.parametrize("encoder", WITH_TOKENS)
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"ddpm"}))
def test_nets_without_attention_refuse_tokens(family: str, encoder: str, data: Everything) -> None:
    with pytest.raises(ValueError, match=r"cannot use the condition's 'tokens' route; it uses vector, spatial$"):
        FAMILIES[family](data.image_shape, data.cond_spec, encoder=WITH_TOKENS[encoder])


def test_what_makes_no_sense_is_refused_with_the_reason(data: Everything) -> None:
    arguments = data.image_shape, data.cond_spec
    unet = partial(UNet, width=8, multipliers=(1, 2), blocks=1)
    with pytest.raises(ValueError, match="cross_attention needs a condition with tokens; the encoder gives none"):
        DDPM(*arguments, net=partial(unet, attention=(), cross_attention=(8,)), encoder=MaskEncoder)
    with pytest.raises(ValueError, match="cross_attention must name a height, of 16, 8, for the tokens"):
        DDPM(*arguments, net=partial(unet, attention=()), encoder=WITH_TOKENS["tokens"])
    with pytest.raises(ValueError, match="cross_attention at height 4: the feature maps have 16, 8"):
        DDPM(*arguments, net=partial(unet, attention=(), cross_attention=(4,)), encoder=WITH_TOKENS["tokens"])
    with pytest.raises(ValueError, match="augment shifts images, but not the condition's map beside them"):
        DCGAN(*arguments, encoder=MaskEncoder, augment=DiffAugment())
    assert DCGAN(*arguments, encoder=LabelEncoder, augment=DiffAugment())
    assert DCGAN(*arguments, encoder=MaskEncoder, augment=DiffAugment(translation=False))


@pytest.mark.parametrize("encoder", [SourceEncoder, NoCondition])
def test_no_label_is_classified_that_the_generator_is_not_asked_for(
    encoder: EncoderFactory,
    data: Everything,
    make_trainer: Callable[..., L.Trainer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = DCGAN(data.image_shape, data.cond_spec, encoder=encoder, classifier_weight=1.5)
    assert model.classifier_weight == 0
    assert not caplog.text  # it may be loaded to sample from
    make_trainer(max_steps=1).fit(model, data)
    assert "classifier_weight 1.5 has no effect: no label and no mask is asked for" in caplog.text


def test_masks_are_told_by_a_net_that_learns_from_real_images_alone(data: Everything) -> None:
    model = DCGAN(data.image_shape, data.cond_spec, encoder=MaskEncoder, classifier_weight=2.0)
    told = model.discriminator.classifier
    assert isinstance(told, MaskAuxiliary)
    assert not model.discriminator.compares
    batch = next(iter(data.train_dataloader()))
    image, cond = to_model_range(batch["pixels"]), conditions_to_model(batch["cond"])
    expected = F.cross_entropy(told.net(image), cond["mask"])
    model.discriminator_loss({"image": image, "cond": cond}, torch.zeros_like(image))
    torch.testing.assert_close(model.losses["train/classifier_loss_real"], expected)
    assert "train/classifier_loss_fake" not in model.losses
    shared = model.generator(torch.randn(len(image), *model.prior_shape), cond)
    with_told = model.generator_loss({"image": image, "cond": cond}, shared)
    told_alone = F.cross_entropy(told.net(shared), cond["mask"])
    torch.testing.assert_close(with_told, model.losses["train/generator_loss"] + 2.0 * told_alone)


def test_pictures_of_another_size_are_named(data: Everything, conds: tuple[Condition, Condition]) -> None:
    model = FAMILIES["dcgan"](data.image_shape, data.cond_spec, encoder=ENCODERS["compose"])
    small = {"mask": torch.zeros(2, 8, 16, dtype=torch.int64), "source": torch.zeros(2, 3, 8, 8)}
    small |= {"known": torch.ones(2, 1, 16, 8), "low_res": torch.zeros(2, 3, 16, 16)}
    for key, message in (
        ("mask", "mask must be of 16x16 pixels, got 8x16"),
        ("source", "source must be of 16x16 pixels, got 8x8"),
        ("known", "known must be of 16x16 pixels, got 16x8"),
        ("low_res", "low_res must be of 4x4 pixels, got 16x16"),
    ):
        with pytest.raises(ValueError, match=message):
            model.sample(conds[0] | {key: small[key]}, seeds=SEEDS)
    assert len(model.sample(conds[0] | {"style": torch.zeros(2, 3, 9, 9)}, seeds=SEEDS)) == 2


@pytest.mark.parametrize("family", ["dcgan", "ddpm"])
def test_composed_conditions_come_back_from_a_checkpoint(
    family: str,
    data: Everything,
    conds: tuple[Condition, Condition],
    make_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    encoder = WITH_TOKENS["composed_tokens"] if family == "ddpm" else ENCODERS["compose"]
    model = FAMILIES[family](data.image_shape, data.cond_spec, encoder=encoder)
    trainer = make_trainer(max_steps=1)
    trainer.fit(model, data)
    stirred(model)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_model(tmp_path / "a.ckpt")
    assert torch.equal(loaded.sample(conds[0], seeds=SEEDS), model.sample(conds[0], seeds=SEEDS))
