"""Any module as a feature extractor."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from condgen.checks import check_shape, describe
from condgen.metrics.extractors import Extractor
from condgen.pixels import to_model_range
from condgen.types import Shape


class ModuleExtractor(Extractor):
    """A module that maps images (N, C, H, W) in [-1, 1] to features (N, D); its scores are `fd_<name>` and the like.

    Args:
        module: The module; it is frozen, and stays in evaluation mode.
        name: Suffix of its distances.
        image_shape: (C, H, W) of the images that it takes.
        weights_path: Its state, a safetensors file or one of `torch.save`; may be null only where the module has no
            parameters, because features of random weights are worth nothing.

    Raises:
        ValueError: If the weights are missing or do not fit, or the module gives no features.
    """

    def __init__(self, module: nn.Module, name: str, image_shape: Shape, weights_path: str | None = None) -> None:
        super().__init__()
        if weights_path is None and any(True for _ in module.parameters()):
            raise ValueError(f"extractor {name!r} has parameters but no weights_path: random weights are never used")
        if weights_path is not None:
            load_weights(module, Path(weights_path))
        self.name, self.image_shape = name, image_shape
        self.module = module.requires_grad_(False).eval()
        self.sha256 = state_hash(module)
        self.card = {"module": f"{type(module).__module__}.{type(module).__qualname__}"}
        self.feature_dim = self(torch.zeros(2, *image_shape, dtype=torch.uint8)).shape[1]

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Map uint8 images (N, C, H, W) to features (N, D) float32."""
        assert self.image_shape is not None
        check_shape(pixels, self.image_shape)
        features = self.module(to_model_range(pixels))
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(pixels):
            raise ValueError(f"extractor {self.name!r} must return features (N, D), got {describe(features)}")
        return features.float()


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a module's state, never code."""
    try:
        if path.suffix == ".safetensors":
            module.load_state_dict(load_file(path))
        else:
            module.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # each format has its own
        raise ValueError(f"{path} holds no weights of {type(module).__name__}: {str(error).splitlines()[0]}") from error


def state_hash(module: nn.Module) -> str:
    """Hash a module's structure and state."""
    digest = sha256(repr(module).encode())
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
