"""Whether a caption can be told from a sample, by a tagger that was trained on real pairs."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from condgen.conditions.tokenisers import WordBag
from condgen.metrics.by_net import ByNet
from condgen.metrics.obedience import ratio
from condgen.nets import ConvClassifier
from condgen.types import Condition


class CaptionMatch(ByNet[ConvClassifier]):
    """Looks for each sample's caption among those of other samples, by how well their words fit the sample.

    A caption fits by the sum over its words of how far the tagger's logit of the word is above that of its frequency;
    so frequent words count no more than rare ones. `caption_top1` is the share of samples whose own caption fits best,
    `caption_above` the share of the other captions that fit less well, a tie being half of one. By chance they are
    1 / candidates and 0.5; what real images get says how much the tagger can tell.

    Args:
        weights: The tagger's file, as `condgen fit -c model/tagger.yaml` leaves it in its run.
        candidates: Captions that are compared for a sample, its own included; the others are those of the samples that
            follow it.

    Raises:
        ValueError: If the file is missing or holds no tagger.
    """

    better: ClassVar[dict[str, str]] = {"caption_top1": "higher", "caption_above": "higher"}
    keys: ClassVar[tuple[str, ...]] = ("text",)
    kind = ConvClassifier
    what = "tagger"
    usual: Tensor

    def __init__(self, weights: str, candidates: int = 16) -> None:
        super().__init__(weights)
        if candidates < 2:
            raise ValueError(f"candidates must be at least 2, got {candidates}")
        if "shares" not in self.card:
            raise ValueError(f"{weights} is a classifier, not a tagger saved by condgen: it says no words' shares")
        self.candidates = candidates
        self.bag = WordBag(self.card["classes"])
        self.register_buffer("usual", torch.logit(torch.tensor(self.card["shares"])), persistent=False)

    @property
    def settings(self) -> dict[str, Any]:
        """Name and hash of the tagger, and the number of candidates."""
        return super().settings | {"caption_candidates": self.candidates}

    @torch.no_grad()
    def measure(self, image: Tensor, cond: Condition, target: Tensor | None) -> Tensor:
        """Return the share of a best fit, that of others which fit less well, and 1."""
        if len(image) < self.candidates:
            raise ValueError(f"captions are told among {self.candidates}, got {len(image)} samples")
        lift = torch.cat([self.net(part) for part in self.shown(image)]) - self.usual
        held = self.bag(cond["text"]).to(lift.device)
        fits = torch.stack([(lift * held.roll(-step, 0)).sum(dim=1) for step in range(self.candidates)])
        above, same = fits[1:] > fits[0], fits[1:] == fits[0]
        best = torch.where(above.any(dim=0), 0.0, 1.0 / (1 + same.sum(dim=0)))
        below = 1.0 - (above + 0.5 * same).mean(dim=0)
        return torch.stack([best, below, torch.ones_like(best)], dim=1)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Return the means."""
        return {name: ratio(total[:, place], total[:, 2]) for place, name in enumerate(self.better)}
