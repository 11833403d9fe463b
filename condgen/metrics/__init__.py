"""Scores of generated images, on the features of a frozen extractor."""

from condgen.metrics.base import DistributionMetric
from condgen.metrics.cas import classification_accuracy_score
from condgen.metrics.classification import InceptionScore, LabelAccuracy
from condgen.metrics.evaluator import Evaluation, Evaluator, Features, Score
from condgen.metrics.extractors import ClassifierExtractor, DigitsExtractor, MNISTExtractor
from condgen.metrics.feature_cache import FeatureCache
from condgen.metrics.frechet import FrechetDistance
from condgen.metrics.kernel import KernelDistance
from condgen.metrics.manifold import PRDC

__all__ = [
    "PRDC",
    "ClassifierExtractor",
    "DigitsExtractor",
    "DistributionMetric",
    "Evaluation",
    "Evaluator",
    "FeatureCache",
    "Features",
    "FrechetDistance",
    "InceptionScore",
    "KernelDistance",
    "LabelAccuracy",
    "MNISTExtractor",
    "Score",
    "classification_accuracy_score",
]
