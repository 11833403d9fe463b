"""Data modules: one file per source."""

from condgen.data.augment import Augmentation, InTurn, RandomAffine, RandomFlip
from condgen.data.base import ImageDataModule
from condgen.data.cifar10 import CIFAR10, CIFAR10JPEG
from condgen.data.digits import Digits
from condgen.data.loader import BatchLoader, ImageSet
from condgen.data.mnist import MNIST

__all__ = [
    "CIFAR10",
    "CIFAR10JPEG",
    "MNIST",
    "Augmentation",
    "BatchLoader",
    "Digits",
    "ImageDataModule",
    "ImageSet",
    "InTurn",
    "RandomAffine",
    "RandomFlip",
]
