"""LSUN: millions of photos of scenes."""

from __future__ import annotations

from functools import cached_property

from condgen.data.augment import Augmentation
from condgen.data.image_folder import Files, ImageFolder, find_files
from condgen.data.lmdb_store import LMDBStore
from condgen.data.splits import RandomSplit
from condgen.data.stored import OnError


class LSUN(ImageFolder):
    """LSUN scenes (Yu et al. 2015) from the published databases, `<class>_train_lmdb` and `<class>_val_lmdb`.

    It takes `pip install 'condgen[data]'`. The published validation images, 300 a class, are the validation split; test
    images, whose labels were not published, are cut out of the training images.

    Args:
        root: Folder of the unpacked databases.
        image_size: Height and width that all images are brought to.
        class_names: Classes to read, in the order of their labels: bedroom, bridge, church_outdoor, classroom,
            conference_room, dining_room, kitchen, living_room, restaurant, tower; null for all that are there, sorted.
        crop: Cut the largest square out of the middle; squeeze the whole picture if false.
        split: How splits that are not given are cut out.
        on_error: What to do if images are damaged: `fail` names them, `skip` leaves them out.
        cache_gib: Size in GiB up to which decoded pixels are kept on disk, for all runs.
        workers: Processes that read batches of a larger set ahead.
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
        augment: Changes training batches.
    """

    def __init__(
        self,
        root: str = "data/lsun",
        image_size: int = 64,
        class_names: list[str] | None = None,
        crop: bool = True,
        split: RandomSplit = RandomSplit(),  # noqa: B008 - it is frozen
        on_error: OnError = "fail",
        cache_gib: float = 8.0,
        workers: int = 2,
        batch_size: int = 64,
        eval_batch_size: int = 500,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(
            root,
            image_size,
            class_names,
            crop=crop,
            split=split,
            on_error=on_error,
            cache_gib=cache_gib,
            workers=workers,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            augment=augment,
        )

    @cached_property
    def files(self) -> Files:
        """The images, by their places in the store; no other databases are looked at than those of the classes."""
        return find_files(LMDBStore(self.root, self.class_names), self.class_names)
