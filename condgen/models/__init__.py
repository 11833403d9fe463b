"""Models: one LightningModule per training algorithm."""

from condgen.models.adversarial import AdversarialModel
from condgen.models.base import GenerativeModel
from condgen.models.classifier import Classifier
from condgen.models.ddpm import DDPM
from condgen.models.decoding import DecoderSampler
from condgen.models.gans import CGAN, DCGAN, Pix2Pix
from condgen.models.protocols import BoundsLikelihood, Encodes, Reconstructs
from condgen.models.recogniser import Recogniser
from condgen.models.schedule import CosineDecay, LinearDecay, Schedule
from condgen.models.segmenter import Segmenter
from condgen.models.single import SingleLossModel
from condgen.models.tagger import Tagger
from condgen.models.vae import VAE

__all__ = [
    "CGAN",
    "DCGAN",
    "DDPM",
    "VAE",
    "AdversarialModel",
    "BoundsLikelihood",
    "Classifier",
    "CosineDecay",
    "DecoderSampler",
    "Encodes",
    "GenerativeModel",
    "LinearDecay",
    "Pix2Pix",
    "Recogniser",
    "Reconstructs",
    "Schedule",
    "Segmenter",
    "SingleLossModel",
    "Tagger",
]
