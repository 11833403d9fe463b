"""Obedience on drawn shapes, by the exact checker of the `Shapes` set."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from condgen.data.shapes import SHAPES, asked, measure, obeyed_names, obeyed_numbers
from condgen.masks import common_and_joint, mean_iou
from condgen.metrics.intervals import wilson_interval
from condgen.metrics.obedience import Obedience, ratio
from condgen.types import Condition


class ShapesFacts(Obedience):
    """Shares of samples that show what was asked for: each fact by itself, and `all_facts` at once.

    Names by `shape`, `colour`, `size_name`, `cell` (of one object) or `relation` (of two), `count`; numbers by `size`
    (within 15%) and `position` (within 2 pixels of 32), where the condition states them.

    Args:
        n_objects: Objects in each picture.
    """

    names = ("shape", "colour", "size_name", "place", "count", "all_facts", "size", "position")
    better = dict.fromkeys(names, "higher")

    def __init__(self, n_objects: int = 1) -> None:
        super().__init__()
        if n_objects not in (1, 2):
            raise ValueError(f"n_objects must be 1 or 2, got {n_objects}")
        self.n_objects = n_objects

    @property
    def settings(self) -> dict[str, Any]:
        """Number of objects."""
        return {"shapes_objects": self.n_objects}

    def measure(self, image: Tensor, cond: Condition, target: Tensor | None) -> Tensor:
        """Return hits and cases of each fact."""
        facts = asked({key: value.cpu() for key, value in cond.items()}, self.n_objects)
        found = measure(image, self.n_objects)
        by_name, by_number = obeyed_names(found, facts), obeyed_numbers(found, facts)
        where = "cell" if self.n_objects == 1 else "relation"
        hits = {"shape": by_name["shape"], "colour": by_name["colour"], "size_name": by_name["size_name"]}
        hits |= {"place": by_name[where], "count": by_name["count"]}
        hits["all_facts"] = torch.cat([value.all(dim=1, keepdim=True) for value in hits.values()], dim=1)
        hits |= {"size": by_number["size"], "position": by_number["position"]}
        stated = {name: torch.ones(len(image), dtype=torch.bool) for name in self.names}
        numbers = facts.size.isfinite().all(dim=1)
        stated["size"] = stated["position"] = numbers & ("attributes" in cond)
        stated |= {"colour": (facts.colour >= 0).all(1), "size_name": numbers, "place": (facts.x.isfinite()).all(1)}
        whole = torch.stack([stated[name] for name in self.names], dim=1)
        return torch.cat([whole & torch.stack([hits[name].all(dim=1) for name in self.names], dim=1), whole], dim=1)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Return the shares of those facts that were stated."""
        hits, cases = total.chunk(2, dim=1)
        found = dict(zip(self.names, ratio(hits, cases).T, strict=True))
        return {name: value for name, value in found.items() if not value.isnan().any()}

    def intervals(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the 95% interval of each share by Wilson's formula, which is right near 0 and 1 too."""
        if self.seen is None:
            raise RuntimeError("ShapesFacts.compute must be called first")
        hits, cases = self.seen.sum(dim=0).cpu().chunk(2)
        ends = dict(zip(self.names, zip(*wilson_interval(hits, cases), strict=True), strict=True))
        return {name: ends[name] for name in self.names if cases[self.names.index(name)] > 0}


class ShapesMask(Obedience):
    """Mean intersection over union of the mask asked for and that measured from each sample, over its classes."""

    better: ClassVar[dict[str, str]] = {"mask_iou": "higher"}
    keys: ClassVar[tuple[str, ...]] = ("mask",)
    num_classes = len(SHAPES) + 1

    def measure(self, image: Tensor, cond: Condition, target: Tensor | None) -> Tensor:
        """Return common and joint pixels of each class."""
        return common_and_joint(measure(image).mask, cond["mask"].cpu(), self.num_classes)

    def scores(self, total: Tensor) -> dict[str, Tensor]:
        """Return the mean over the classes that occur."""
        return {"mask_iou": mean_iou(total)}
