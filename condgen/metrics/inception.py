"""The Inception network of the published scores (Szegedy et al. 2016; Salimans et al. 2016; Heusel et al. 2017)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condgen.checks import describe
from condgen.download import download
from condgen.metrics.extractors import Extractor
from condgen.metrics.saved_net import misfit
from condgen.metrics.weights_file import check_weights

CANONICAL_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of torch-fidelity's `weights-inception-2015-12-05-6726825d.pth`, converted from the published TensorFlow graph."""
LAYERS = ["2048", "logits_unbiased"]


class InceptionExtractor(Extractor):
    """torch-fidelity's Inception v3: resized to 299x299 as TensorFlow 1 did, 2,048 pooled features, 1,008 logits.

    Grey images are shown as colour. With the published weights its scores are `fid`, `kid` and `is`.

    Args:
        weights_path: The weights file; null to find it in torch's hub folder, or download it there (96 MB).
        sha256: Hash that the file must have; with another than the published one, scores are `fd_inception_<hash>`.

    Raises:
        ValueError: If the weights cannot be had, or are not those that are due. Weights are never random.
    """

    feature_dim = 2048
    num_classes = 1008

    def __init__(self, weights_path: str | None = None, sha256: str = CANONICAL_SHA256) -> None:
        super().__init__()
        module = torch_fidelity_inception()
        path = find_weights(module.URL_INCEPTION_V3, sha256) if weights_path is None else Path(weights_path)
        check_weights(path, sha256)
        self.sha256 = sha256
        self.canonical = sha256 == CANONICAL_SHA256
        self.name = "inception" if self.canonical else f"inception_{sha256[:8]}"
        self.card = {"net": "torch-fidelity inception-v3-compat", "layer": LAYERS[0], "logits": LAYERS[1]}
        self.net = load_net(module, path).to(memory_format=torch.channels_last)  # 1.3 times as fast on a CPU

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Map uint8 images (N, 1 or 3, H, W) to features (N, 2048) float32."""
        if pixels.dtype != torch.uint8:
            raise TypeError(f"images must be uint8, got {describe(pixels)}")
        if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or len(pixels) == 0:
            raise ValueError(f"images must be (N, 1 or 3, H, W), got {describe(pixels)}")
        features: Tensor = self.net(pixels.expand(-1, 3, -1, -1))[0]
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Map features (N, 2048) to class logits (N, 1008), without the bias, as the published score has it."""
        logits: Tensor = features @ self.net.fc.weight.T
        return logits


def torch_fidelity_inception() -> Any:
    """Import the network.

    Raises:
        ValueError: If torch-fidelity is not installed.
    """
    try:
        from torch_fidelity import feature_extractor_inceptionv3
    except ImportError as error:
        raise ValueError("Inception needs torch-fidelity: pip install 'condgen[eval]'") from error
    return feature_extractor_inceptionv3


def weights_in_hub() -> Path:
    """Return where torch's hub folder has the weights, if it has them.

    Raises:
        ValueError: If torch-fidelity is not installed.
    """
    return in_hub(str(torch_fidelity_inception().URL_INCEPTION_V3))


def in_hub(url: str) -> Path:
    """Return where torch's hub folder keeps what an address holds."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def find_weights(url: str, sha256: str) -> Path:
    """Return the weights in torch's hub folder, downloaded if need be.

    Raises:
        ValueError: If they cannot be had, whatever the reason.
    """
    path = in_hub(url)
    try:
        return check_weights(path, sha256) if path.exists() else download(url, path, sha256=sha256)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Inception weights: {error}; get {url} (SHA-256 {sha256}) and name it as weights_path, or use a "
            "classifier meanwhile: a shipped one (DigitsExtractor, MNISTExtractor) or, by ClassifierExtractor, your own"
        ) from error


def load_net(module: Any, path: Path) -> Any:
    """Build the network from a file of its state."""
    try:
        torch.load(path, weights_only=True, map_location="cpu")  # torch-fidelity itself would run what is pickled
        return module.FeatureExtractorInceptionV3("inception-v3-compat", LAYERS, str(path))
    except Exception as error:  # what is not whole, not weights, or of another net, each has its own type
        raise ValueError(f"{path} holds no weights of torch-fidelity's Inception: {misfit(error)}") from error
