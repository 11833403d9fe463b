"""Models: one LightningModule per training algorithm."""

from condgen.models.adversarial import AdversarialModel
from condgen.models.base import GenerativeModel
from condgen.models.classifier import Classifier
from condgen.models.ddpm import DDPM
from condgen.models.gans import CGAN, DCGAN
from condgen.models.schedule import CosineDecay, LinearDecay, Schedule

__all__ = [
    "CGAN",
    "DCGAN",
    "DDPM",
    "AdversarialModel",
    "Classifier",
    "CosineDecay",
    "GenerativeModel",
    "LinearDecay",
    "Schedule",
]
