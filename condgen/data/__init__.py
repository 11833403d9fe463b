"""Data modules: one file per source."""

from condgen.data.array_images import ArrayImages
from condgen.data.augment import Augmentation, InTurn, RandomAffine, RandomCrop, RandomFlip
from condgen.data.base import ImageDataModule
from condgen.data.celeba import CelebA
from condgen.data.cifar10 import CIFAR10, CIFAR10JPEG
from condgen.data.cifar100 import CIFAR100
from condgen.data.digits import Digits
from condgen.data.fit import Fit, FitError
from condgen.data.folder_images import FolderImages
from condgen.data.image_arrays import ImageArrays
from condgen.data.image_folder import ImageFolder
from condgen.data.image_table import ImageTable
from condgen.data.images import Images, ImageSet, Part
from condgen.data.loader import BatchLoader
from condgen.data.lsun import LSUN
from condgen.data.mnist import MNIST, FashionMNIST
from condgen.data.open_images import open_images
from condgen.data.paired_folder import PairedFolder
from condgen.data.shapes import Shapes, ShapesImages
from condgen.data.sources import DamagedImagesError, ImageSource, LoadedImages, MemoryImages, SplitImages
from condgen.data.splits import RandomSplit
from condgen.data.tar_shards import TarShards
from condgen.data.unpaired_folders import UnpairedFolders

__all__ = [
    "CIFAR10",
    "CIFAR10JPEG",
    "CIFAR100",
    "LSUN",
    "MNIST",
    "ArrayImages",
    "Augmentation",
    "BatchLoader",
    "CelebA",
    "DamagedImagesError",
    "Digits",
    "FashionMNIST",
    "Fit",
    "FitError",
    "FolderImages",
    "ImageArrays",
    "ImageDataModule",
    "ImageFolder",
    "ImageSet",
    "ImageSource",
    "ImageTable",
    "Images",
    "InTurn",
    "LoadedImages",
    "MemoryImages",
    "PairedFolder",
    "Part",
    "RandomAffine",
    "RandomCrop",
    "RandomFlip",
    "RandomSplit",
    "Shapes",
    "ShapesImages",
    "SplitImages",
    "TarShards",
    "UnpairedFolders",
    "open_images",
]
