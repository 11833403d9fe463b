"""The contract of data modules, and the way a raw batch becomes a `Batch`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.checks import check_condition, check_shape
from condgen.data.augment import Augmentation
from condgen.data.fingerprint import hash_images
from condgen.data.images import Images
from condgen.data.loader import BatchLoader, NoImages
from condgen.heartbeat import heart
from condgen.pixels import conditions_to_model, to_device, to_model_range
from condgen.seeding import generator, run_seed
from condgen.types import Batch, Condition, CondSpec, Shape

Split = Literal["train", "validation", "test"]


class ImageDataModule(L.LightningDataModule):
    """Images with conditions, as uint8.

    `image_shape` and `cond_spec` are there from construction, before any file is read; they are all that a model
    learns of the data.

    Args:
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    image_shape: Shape
    cond_spec: CondSpec
    workers: int = 0
    """Processes that read batches ahead; sets in memory need none."""

    def __init__(self, batch_size: int, eval_batch_size: int, augment: Augmentation | None) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.augment = augment
        self._splits: dict[str, Images] = {}
        self._fingerprints: dict[str, str] = {}

    @abstractmethod
    def load(self, split: Split) -> Images:
        """Read one split, the same images in the same order each time."""

    def images(self, split: Split) -> Images:
        """Return one split, read and checked at most once.

        Raises:
            ValueError: If an image or a condition is not what `image_shape` and `cond_spec` say.
        """
        if split not in self._splits:
            self._splits[split] = self.load(split)
            rows = self._splits[split].probe()
            check_shape(rows.pixels, self.image_shape)
            check_condition(rows.cond, self.cond_spec, tuple(self.cond_spec), self.image_shape)
        return self._splits[split]

    def fingerprint(self, split: Split) -> str:
        """Identify a split's images and conditions by a hash of the files that they come from, taken at most once."""
        if split not in self._fingerprints:
            self._fingerprints[split] = self.hash_split(split)
        return self._fingerprints[split]

    def hash_split(self, split: Split) -> str:
        """Hash what a split is made from, if possible without decoding; by default, its pixels and conditions."""
        return hash_images(self.images(split).all())

    def train_dataloader(self) -> BatchLoader:
        """Return shuffled training batches for this process; in training, from the one on that the model is at."""
        loader = self._loader("train", self.batch_size, shuffle=True)
        if self.trainer is not None and self.trainer.training:
            loader.batches = getattr(self.trainer.lightning_module, "batches_seen", 0)
        return loader

    def val_dataloader(self) -> BatchLoader | NoImages:
        """Return the validation split for this process, each image once; one batch of none if the model reads none."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> BatchLoader | NoImages:
        """Return the test split for this process, each image once; one batch of none if the model reads none."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> BatchLoader:
        """Return the test split; prediction uses its conditions."""
        return self._loader("test", self.eval_batch_size, shuffle=False)

    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Refuse a raw batch whose conditions are not what `cond_spec` says, while a look at them costs no waiting."""
        heart.beat()
        check_condition(batch["cond"], self.cond_spec, (), self.image_shape)
        return batch

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a raw batch but for captions; on the CPU it is there already, and a walk through it would be idle."""
        if device.type == "cpu":
            return batch
        moved = super().transfer_batch_to_device({**batch, "cond": {}}, device, dataloader_idx)
        return {**moved, "cond": to_device(batch["cond"], device)}

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> Batch:
        """Let a raw batch in: uint8 -> [-1, 1], augmented in training, by draws keyed to its number."""
        image, cond = to_model_range(batch["pixels"]), conditions_to_model(batch["cond"])
        if self.augment is not None and self.trainer is not None and self.trainer.training:
            image, cond = self._augmented(self.augment, image, cond, batch["batch"])
        return {"image": image, "cond": cond, "index": batch["index"]}

    def _augmented(self, augment: Augmentation, image: Tensor, cond: Condition, batch: int) -> tuple[Tensor, Condition]:
        """Change images, and what shows the same place with them, in the same way."""

        def change(x: Tensor) -> Tensor:
            return augment(x, generator(run_seed(), rank, batch, "augment"))

        rank, cond = self.trainer.global_rank if self.trainer else 0, dict(cond)
        cond |= {key: change(cond[key]) for key in ("source", "low_res") if key in cond}
        if "mask" in cond:
            hot = F.one_hot(cond["mask"], self.cond_spec["mask"]["num_classes"]).movedim(3, 1)
            cond["mask"] = change(2.0 * hot.float() - 1.0).argmax(dim=1)
        return change(image), cond

    def _evaluation_loader(self, split: Split) -> BatchLoader | NoImages:
        model = self.trainer.lightning_module if self.trainer else None
        if getattr(model, "evaluation_reads_images", True):
            return self._loader(split, self.eval_batch_size, shuffle=False)
        return NoImages(self.image_shape)

    def _loader(self, split: Split, batch_size: int, *, shuffle: bool) -> BatchLoader:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        images, places = self.images(split), {"rank": rank, "world_size": world_size}
        return BatchLoader(images, batch_size, shuffle=shuffle, workers=self.workers, **places)


def stratified_parts(label: Tensor, sizes: tuple[int, ...], seed: int) -> list[Tensor]:
    """Deal all places out into parts of given sizes, each with the classes in proportion; places are sorted."""
    from sklearn.model_selection import train_test_split

    rest, parts = torch.arange(len(label)).numpy(), []
    for size in sizes[:0:-1]:
        rest, part = train_test_split(rest, test_size=size, stratify=label[rest], random_state=seed)
        parts.append(torch.from_numpy(part).sort().values)
    return [torch.from_numpy(rest).sort().values, *reversed(parts)]
