"""Data modules: one file per source."""

from condgen.data.augment import Augmentation, RandomAffine
from condgen.data.base import ImageDataModule
from condgen.data.digits import Digits
from condgen.data.loader import BatchLoader, ImageSet
from condgen.data.mnist import MNIST

__all__ = ["MNIST", "Augmentation", "BatchLoader", "Digits", "ImageDataModule", "ImageSet", "RandomAffine"]
