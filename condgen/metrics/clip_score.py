"""Agreement of images and captions, as CLIP sees it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from condgen.conditions.pretrained_text import load
from condgen.conditions.tokenisers import to_captions
from condgen.metrics.obedience import Obedience, ratio
from condgen.types import Condition

CHUNK = 32
"""Images that the net sees at a time, always: matrix kernels round differently for other shapes."""
SCALE = 100.0


class CLIPScore(Obedience):
    """Mean over samples of 100 max(cos(image, caption), 0), between CLIP's embeddings of both: `clip_score`.

    Hessel et al. (2021, Eq. 1) write w max(cos, 0) with w = 2.5, for scores of captions between 0 and 1; their value is
    2.5 / 100 of this one. The scale of 100 is that of torchmetrics, and of what is published of text-to-image models.
    Values of different CLIP models cannot be compared, nor those of images much smaller than they were trained on:
    the score of real training images stands beside.

    Args:
        model: Folder of a CLIP model with its tokeniser and processor, or its name on the hub, such as
            `openai/clip-vit-base-patch32`. Images of any size are resized and cropped as its processor says; captions
            longer than it can read are cut.

    Raises:
        ValueError: If transformers is not installed, or finds no CLIP model there.
    """

    better: ClassVar[dict[str, str]] = {"clip_score": "higher"}
    limits: ClassVar[dict[str, tuple[float, float]]] = {"clip_score": (0.0, SCALE)}
    keys: ClassVar[tuple[str, ...]] = ("text",)

    def __init__(self, model: str) -> None:
        super().__init__()
        self.model = model
        config = load_part(lambda hub: hub.AutoConfig.from_pretrained(model, trust_remote_code=False), model)
        if config.model_type != "clip":
            raise ValueError(f"model {model!r} is no CLIP, but a {config.model_type} model")

    @property
    def settings(self) -> dict[str, Any]:
        """Which model it was, and how it was used."""
        return {"clip": clip(self.model).card}

    def measure(self, image: Tensor, cond: Condition, target: Tensor | None) -> Tensor:
        """Return each sample's value, and 1."""
        net = clip(self.model)
        parts = zip(image.split(CHUNK), cond["text"].split(CHUNK), strict=True)
        score = torch.cat([net.cosine(pixels, text) for pixels, text in parts]).clamp(min=0.0) * SCALE
        return torch.stack([score, torch.ones_like(score)], dim=1)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Return the mean."""
        return {"clip_score": ratio(*total.unbind(dim=1))}


class CLIP:
    """A pretrained CLIP with its tokeniser and image processor, frozen. No module, so that a metric holds no weights.

    Args:
        model: Folder, or name on the hub.

    Raises:
        ValueError: If a part is missing.
    """

    def __init__(self, model: str) -> None:
        settings = {"use_safetensors": True, "output_loading_info": True}  # weights that hold no code
        net, info = load_part(lambda hub: hub.CLIPModel.from_pretrained(model, **settings), model)
        if info["missing_keys"]:
            raise ValueError(f"model {model!r} lacks weights, such as {sorted(info['missing_keys'])[0]}")
        self.net = net.float().eval().requires_grad_(False)
        self.tokeniser = load_part(lambda hub: hub.AutoTokenizer.from_pretrained(model, trust_remote_code=False), model)
        self.images = load_part(lambda hub: hub.CLIPImageProcessor.from_pretrained(model), model)
        self.max_tokens = int(net.config.text_config.max_position_embeddings)
        self.card = {
            "name": Path(model).name,
            "sha256": state_sha256(self.net),
            "scale": SCALE,
            "max_tokens": self.max_tokens,
            "transformers": load_part(lambda hub: str(hub.__version__).partition(".")[0], model),
        }

    @torch.no_grad()
    def cosine(self, image: Tensor, text: Tensor) -> Tensor:
        """Compare up to `CHUNK` uint8 images (N, C, H, W) with captions (N, B) uint8; returns (N,) in [-1, 1]."""
        count, device = len(image), image.device
        image = torch.cat([image, image[-1:].expand(CHUNK - count, *image.shape[1:])]).expand(-1, 3, -1, -1)
        captions = [caption.decode(errors="replace") for caption in to_captions(text)] + [""] * (CHUNK - count)
        length = {"padding": "max_length", "truncation": True, "max_length": self.max_tokens}
        tokens = self.tokeniser(captions, return_tensors="pt", **length)
        pixels = self.images(images=list(image.cpu()), return_tensors="pt", input_data_format="channels_first")
        with torch.autocast(device.type, enabled=False):
            out = self.net.to(device)(
                input_ids=tokens["input_ids"].to(device),
                attention_mask=tokens["attention_mask"].to(device),
                pixel_values=pixels["pixel_values"].to(device),
            )
        both = (torch.nn.functional.normalize(x[:count].double(), dim=1) for x in (out.image_embeds, out.text_embeds))
        a, b = both
        return (a * b).sum(dim=1)


@lru_cache(maxsize=2)
def clip(model: str) -> CLIP:
    """Return the one CLIP of a name, loaded when it is first used."""
    return CLIP(model)


def load_part(make: Callable[[Any], Any], model: str) -> Any:
    """Load a part of a CLIP model; see `load`."""
    return load(make, model, user="CLIPScore", what="a CLIP")


def state_sha256(net: torch.nn.Module) -> str:
    """Hash names and values of a net's weights."""
    digest = sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
