"""Nets: pure `nn.Module`s, without Lightning, devices or logging."""

from condgen.nets.classifier import ConvClassifier
from condgen.nets.conv_vae import ConvDecoder, ConvEncoder
from condgen.nets.dcgan import DCGANDiscriminator, DCGANGenerator
from condgen.nets.ema import EMA
from condgen.nets.layers import Judgement, NetFactory
from condgen.nets.mlp import MLPDiscriminator, MLPGenerator
from condgen.nets.mlp_vae import MLPDecoder, MLPEncoder
from condgen.nets.pix2pix import PatchDiscriminator, Pix2PixGenerator
from condgen.nets.recognising import RecognisingNet
from condgen.nets.resnet_gan import ResNetDiscriminator, ResNetGenerator
from condgen.nets.segmentation import SegmentationUNet
from condgen.nets.unet import UNet

__all__ = [
    "EMA",
    "ConvClassifier",
    "ConvDecoder",
    "ConvEncoder",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Judgement",
    "MLPDecoder",
    "MLPDiscriminator",
    "MLPEncoder",
    "MLPGenerator",
    "NetFactory",
    "PatchDiscriminator",
    "Pix2PixGenerator",
    "RecognisingNet",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "SegmentationUNet",
    "UNet",
]
