"""Scores of generated images, on the features of a frozen extractor."""

from condgen.metrics.base import DistributionMetric, Features
from condgen.metrics.captions import CaptionMatch
from condgen.metrics.cas import classification_accuracy_score
from condgen.metrics.classification import InceptionScore, LabelAccuracy
from condgen.metrics.classwise import Diversity, IntraClassFrechetDistance
from condgen.metrics.clip_score import CLIPScore
from condgen.metrics.evaluation import evaluate
from condgen.metrics.evaluator import Evaluation, Evaluator, Score, score_rows
from condgen.metrics.extractors import ClassifierExtractor, DigitsExtractor, Extractor, MNISTExtractor
from condgen.metrics.feature_cache import FeatureCache
from condgen.metrics.frechet import FrechetDistance
from condgen.metrics.inception import InceptionExtractor
from condgen.metrics.kernel import KernelDistance
from condgen.metrics.manifold import PRDC
from condgen.metrics.memorisation import Memorisation
from condgen.metrics.module_extractor import ModuleExtractor
from condgen.metrics.obedience import Obedience
from condgen.metrics.paired import EdgeAgreement, PairedError
from condgen.metrics.reconstruction import ReconstructionError
from condgen.metrics.segmented import PerceptualDistance, SegmentedMask
from condgen.metrics.shapes_obedience import ShapesFacts, ShapesMask
from condgen.metrics.strokes import StrokeStyle

__all__ = [
    "PRDC",
    "CLIPScore",
    "CaptionMatch",
    "ClassifierExtractor",
    "DigitsExtractor",
    "DistributionMetric",
    "Diversity",
    "EdgeAgreement",
    "Evaluation",
    "Evaluator",
    "Extractor",
    "FeatureCache",
    "Features",
    "FrechetDistance",
    "InceptionExtractor",
    "InceptionScore",
    "IntraClassFrechetDistance",
    "KernelDistance",
    "LabelAccuracy",
    "MNISTExtractor",
    "Memorisation",
    "ModuleExtractor",
    "Obedience",
    "PairedError",
    "PerceptualDistance",
    "ReconstructionError",
    "Score",
    "SegmentedMask",
    "ShapesFacts",
    "ShapesMask",
    "StrokeStyle",
    "classification_accuracy_score",
    "evaluate",
    "score_rows",
]
