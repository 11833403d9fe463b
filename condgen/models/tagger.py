"""Nets that tell the words of an image's caption, trained on real pairs to judge generated images."""

from __future__ import annotations

from math import log
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from condgen.conditions.tokenisers import WordBag
from condgen.models.classifier import ClassifierFactory
from condgen.models.recogniser import Recogniser
from condgen.models.schedule import Schedule
from condgen.nets import ConvClassifier
from condgen.objectives import tag_cross_entropy
from condgen.types import Batch, CondSpec, Shape

RARE = -5.0
"""Logit of every word at first: most captions lack most words."""


class Tagger(Recogniser):
    """Binary cross-entropy on each word of `text`, whether the caption has it (Joulin et al. 2016), with AdamW.

    `caption_bits` is what an image tells of its caption's words: by how many bits the cross-entropy is below that of
    words known by their frequency alone. On images that were not trained on it falls when the net has learned by heart.

    Args:
        image_shape: (C, H, W), from the data module.
        cond_spec: The data's conditions, from the data module; `text` is needed, with its `words`.
        net: Factory of the net from the image shape and the number of words.
        lr: Learning rate at the start.
        weight_decay: Weight decay.
        schedule: Factor of the learning rate as a function of images seen.
    """

    what: ClassVar[str] = "tagger"
    key: ClassVar[str] = "text"
    score_names: ClassVar[tuple[str, ...]] = ("caption_bits",)
    num_counts = 2
    captions: Tensor
    occurrences: Tensor

    def __init__(
        self,
        image_shape: Shape,
        cond_spec: CondSpec,
        *,
        net: ClassifierFactory = ConvClassifier,
        lr: float = 2e-3,
        weight_decay: float = 1e-2,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(image_shape, cond_spec, lr=lr, weight_decay=weight_decay, schedule=schedule)
        words = cond_spec["text"].get("words")
        if not words:
            raise ValueError("a tagger needs the words of the data's captions, which it does not list")
        self.words: list[str] = list(words)
        self.bag = WordBag(self.words)
        self.net: ConvClassifier = net(self.image_shape, len(words))
        nn.init.constant_(self.net.head.bias, RARE)
        self.register_buffer("captions", torch.zeros((), dtype=torch.int64))
        self.register_buffer("occurrences", torch.zeros(len(words), dtype=torch.int64))

    def train_on(self, batch: Batch) -> Tensor:
        """Return the loss, and count the words."""
        held = self.bag(batch["cond"]["text"]).to(self.device)
        self.captions += len(held)
        self.occurrences += held.sum(dim=0).long()
        return super().train_on(batch)

    def loss(self, logits: Tensor, due: Tensor) -> Tensor:
        """Return the cross-entropy of all words together, the mean over captions."""
        return tag_cross_entropy(logits, self.bag(due).to(logits.device)).mean()

    def count(self, logits: Tensor, due: Tensor) -> Tensor:
        """Sum the bits that the images tell, and count captions."""
        held = self.bag(due).to(logits.device)
        known = tag_cross_entropy(torch.logit(self.shares).expand_as(held), held)
        told = known - tag_cross_entropy(logits, held)
        return torch.stack([told.sum() / log(2), torch.ones_like(told).sum()])

    def scores(self, counts: Tensor) -> dict[str, float]:
        """Return the mean."""
        return {"caption_bits": float(counts[0]) / max(1.0, float(counts[1]))}

    @property
    def shares(self) -> Tensor:
        """Share (K,) of the training's captions that have each word, never 0 or 1."""
        return (self.occurrences + 1) / (self.captions + 2)

    def card(self) -> dict[str, Any]:
        """Say the words, and their shares of the training's captions."""
        return {"classes": self.words, "shares": [round(share, 7) for share in self.shares.tolist()]}
