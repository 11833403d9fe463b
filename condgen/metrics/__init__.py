"""Scores of generated images, on the features of a frozen extractor."""

from condgen.metrics.base import DistributionMetric, Features
from condgen.metrics.cas import classification_accuracy_score
from condgen.metrics.classification import InceptionScore, LabelAccuracy
from condgen.metrics.classwise import Diversity, IntraClassFrechetDistance
from condgen.metrics.evaluation import evaluate
from condgen.metrics.evaluator import Evaluation, Evaluator, Score, score_rows
from condgen.metrics.extractors import ClassifierExtractor, DigitsExtractor, MNISTExtractor
from condgen.metrics.feature_cache import FeatureCache
from condgen.metrics.frechet import FrechetDistance
from condgen.metrics.kernel import KernelDistance
from condgen.metrics.manifold import PRDC
from condgen.metrics.memorisation import Memorisation
from condgen.metrics.reconstruction import ReconstructionError

__all__ = [
    "PRDC",
    "ClassifierExtractor",
    "DigitsExtractor",
    "DistributionMetric",
    "Diversity",
    "Evaluation",
    "Evaluator",
    "FeatureCache",
    "Features",
    "FrechetDistance",
    "InceptionScore",
    "IntraClassFrechetDistance",
    "KernelDistance",
    "LabelAccuracy",
    "MNISTExtractor",
    "Memorisation",
    "ReconstructionError",
    "Score",
    "classification_accuracy_score",
    "evaluate",
    "score_rows",
]
