"""Any module as a feature extractor."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from condgen.checks import check_shape, describe
from condgen.metrics.extractors import Extractor
from condgen.metrics.saved_net import misfit
from condgen.pixels import to_model_range
from condgen.seeding import generator
from condgen.types import Shape


class ModuleExtractor(Extractor):
    """Any frozen module as an extractor; its scores are `fd_<name>` and the like.

    It sees images (N, C, H, W) in [-1, 1], grey as colour where it takes colour, and returns features (N, D), or
    (N, D, 1, 1).

    Args:
        module: The module; it stays in evaluation mode.
        name: Suffix of its distances.
        image_shape: (C, H, W) of the images that it takes.
        weights_path: Its state, a safetensors file or one of `torch.save`; may be null only where the module has no
            parameters, because features of random weights are worth nothing.
        layer: Submodule whose output the features are, such as `avgpool`; null for the module's own.
        resample: Filter, antialiased, that brings images of any size to `image_shape`; null to take no other size.
        mean: Subtracted from each channel, of values in [0, 1], before the module; null for images in [-1, 1].
        std: Divides each channel after that.

    Raises:
        ValueError: If the weights are missing or do not fit, or the module gives no features.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(
        self,
        module: nn.Module,
        name: str,
        image_shape: Shape,
        weights_path: str | None = None,
        *,
        layer: str | None = None,
        resample: Literal["bilinear", "bicubic"] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not re.fullmatch(r"[\w.-]+", name):
            raise ValueError(f"extractor's name must be letters, digits, '_', '-' or '.', got {name!r}")
        check_options(name, module, image_shape, layer, mean, std)
        if weights_path is not None:
            load_weights(module, Path(weights_path))
        elif any(True for _ in module.parameters()):
            raise ValueError(f"extractor {name!r} has parameters but no weights_path: random weights are never used")
        self.name, self.layer, self.resample = name, layer, resample
        self.shape: Shape = image_shape
        self.image_shape = None if resample else image_shape
        self.module = module.requires_grad_(False).eval()
        for key, values in (("mean", mean), ("std", std)):
            column = None if values is None else torch.tensor(values).view(-1, 1, 1)
            self.register_buffer(key, column, persistent=False)
        seen = {"image_shape": image_shape, "layer": layer, "resample": resample, "mean": mean, "std": std}
        self.sha256 = sha256(f"{state_hash(module)} {json.dumps(seen, sort_keys=True)}".encode()).hexdigest()
        self.card = {"module": class_name(module), **seen}
        if resample:
            self.card["resample"] = f"{resample}, antialiased, to {image_shape[1]}x{image_shape[2]}, clamped to [-1, 1]"
        self.feature_dim = self._tried()

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Map uint8 images (N, C, H, W), of any size where it resamples, to features (N, D) float32."""
        features = self._run(self._shown(pixels))
        if isinstance(features, Tensor) and features.shape[2:] == (1, 1):
            features = features.flatten(1)
        if (
            not isinstance(features, Tensor)
            or not features.is_floating_point()
            or features.ndim != 2
            or len(features) != len(pixels)
            or features.shape[1] == 0
        ):
            raise ValueError(f"extractor {self.name!r} must return float features (N, D), got {describe(features)}")
        finite = torch.isfinite(features).all(dim=1)
        if not finite.all():
            count = int((~finite).sum())
            raise ValueError(f"extractor {self.name!r} gives features that are not finite for {count} images")
        return features.float()

    def _shown(self, pixels: Tensor) -> Tensor:
        """Make of uint8 images what the module sees."""
        channels, *size = self.shape
        if pixels.ndim == 4:
            pixels = with_channels(pixels, channels)
        if self.resample is None or pixels.ndim != 4:
            check_shape(pixels, self.shape)
        image = to_model_range(pixels)
        if self.resample is not None and list(image.shape[2:]) != size:
            image = F.interpolate(image, size, mode=self.resample, antialias=True).clamp_(-1.0, 1.0)
        if self.mean is not None and self.std is not None:
            image = ((image + 1.0) / 2.0 - self.mean) / self.std
        return image

    def _run(self, image: Tensor) -> Any:
        """Return what the module, or its layer, makes of images."""
        if self.layer is None:
            return self.module(image)
        outputs: list[Any] = []
        hook = self.module.get_submodule(self.layer).register_forward_hook(lambda *call: outputs.append(call[-1]))
        try:
            self.module(image)
        finally:
            hook.remove()
        return outputs[-1] if outputs else None

    def _tried(self) -> int:
        """Return the number of features, of two images of noise that are tried twice."""
        pixels = torch.randint(0, 256, (2, *self.shape), dtype=torch.uint8, generator=generator("extractor"))
        try:
            first, again = self(pixels), self(pixels)
        except ValueError:
            raise
        except Exception as error:  # a module may fail in any way
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(f"extractor {self.name!r} fails on images {tuple(self.shape)}: {reason}") from error
        if not torch.equal(first, again):
            raise ValueError(f"extractor {self.name!r} gives other features for the same images when tried again")
        return int(first.shape[1])


def check_options(
    name: str,
    module: nn.Module,
    image_shape: Shape,
    layer: str | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> None:
    """Refuse options that cannot be followed."""
    if len(image_shape) != 3 or image_shape[0] not in (1, 3) or min(image_shape) < 1:
        raise ValueError(f"extractor {name!r}: image_shape must be (1 or 3, H, W), got {tuple(image_shape)}")
    layers = [path for path, _ in module.named_modules() if path]
    if layer is not None and layer not in layers:
        raise ValueError(f"extractor {name!r}: no layer {layer!r}; there are {', '.join(layers[:12]) or 'none'}")
    if (mean is None) != (std is None):
        raise ValueError(f"extractor {name!r}: give both mean and std, or neither")
    for key, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != image_shape[0]:
            raise ValueError(f"extractor {name!r}: {key} must have {image_shape[0]} values, got {len(values)}")
    if std is not None and not min(std) > 0:
        raise ValueError(f"extractor {name!r}: std must be above 0, got {list(std)}")


def with_channels(pixels: Tensor, channels: int) -> Tensor:
    """Show grey images (N, C, H, W) as colour, or as grey where they come as colour; others are as they are."""
    if pixels.shape[1] == 1:
        return pixels.expand(-1, channels, -1, -1)
    if channels == 1 and torch.equal(pixels, pixels[:, :1].expand_as(pixels)):
        return pixels[:, :1]
    if pixels.shape[1] != channels:
        raise ValueError(f"images must have {channels} channels, got {describe(pixels)}")
    return pixels


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a module's state, never code."""
    if not path.is_file():
        raise ValueError(f"no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            module.load_state_dict(load_file(path))
        else:
            module.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # each format has its own
        raise ValueError(f"{path} holds no weights of {type(module).__name__}: {misfit(error)}") from error


def state_hash(module: nn.Module) -> str:
    """Hash a module's structure and state: its classes, their plain attributes, parameters, and all buffers."""
    digest = sha256(repr(module).encode())
    for path, part in module.named_modules():
        plain = {key: value for key, value in vars(part).items() if key != "training" and is_plain(value)}
        digest.update(f"{path} {class_name(part)} {plain} ".encode())
    for name, value in (module.state_dict() | dict(module.named_buffers())).items():  # buffers: also those not saved
        if not isinstance(value, Tensor):
            digest.update(f"{name} {value!r} ".encode())
            continue
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def is_plain(value: object) -> bool:
    """Tell whether a value is a number, a text or nothing, or a list of such."""
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    return isinstance(value, str | int | float | None)


def class_name(module: nn.Module) -> str:
    """Return the path of a module's class."""
    return f"{type(module).__module__}.{type(module).__qualname__}"
