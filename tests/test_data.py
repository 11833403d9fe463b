from __future__ import annotations

from collections.abc import Callable

import lightning as L
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from condgen.data import BatchLoader, Digits, ImageSet, RandomAffine, Shapes
from condgen.models import GenerativeModel
from condgen.seeding import generator


def numbered(count: int) -> ImageSet:
    pixels = torch.arange(count).to(torch.uint8).view(-1, 1, 1, 1)
    return ImageSet(pixels, {"label": torch.arange(count)})


def places(loader: BatchLoader) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 4))
def test_evaluation_sees_each_image_once_over_all_processes(count: int, batch_size: int, world_size: int) -> None:
    if count < world_size:
        return
    loaders = [
        BatchLoader(numbered(count), batch_size, shuffle=False, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    epochs = [places(loader) for loader in loaders]
    assert sorted(place for epoch in epochs for batch in epoch for place in batch) == list(range(count))
    assert [len(epoch) for epoch in epochs] == [len(loader) for loader in loaders]
    assert places(loaders[0]) == epochs[0]


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 200), st.integers(1, 50), st.integers(1, 3))
def test_training_epochs_are_permutations_shared_without_overlap(count: int, batch_size: int, world_size: int) -> None:
    if count < world_size:
        return
    loaders = [
        BatchLoader(numbered(count), batch_size, shuffle=True, rank=r, world_size=world_size) for r in range(world_size)
    ]
    for _ in range(2):
        epochs = [places(loader) for loader in loaders]
        seen = [place for epoch in epochs for batch in epoch for place in batch]
        assert len(seen) == len(set(seen))
        assert len({len(batch) for epoch in epochs for batch in epoch}) == 1
        assert {len(epoch) for epoch in epochs} == {len(loaders[0])}
        assert count - len(seen) < loaders[0].batch_size * world_size


def test_batches_hold_the_rows_of_their_places() -> None:
    for batch in BatchLoader(numbered(50), 7, shuffle=True):
        assert torch.equal(batch["cond"]["label"], batch["index"])
        assert torch.equal(batch["pixels"].flatten().long(), batch["index"])


def test_order_is_a_function_of_seed_and_epoch() -> None:
    loader = BatchLoader(numbered(40), 8, shuffle=True)
    first, second = places(loader), places(loader)
    assert first != second
    assert places(BatchLoader(numbered(40), 8, shuffle=True)) == first
    L.seed_everything(1, verbose=False)
    assert places(BatchLoader(numbered(40), 8, shuffle=True)) != first


@pytest.mark.parametrize("stop", range(13))
def test_a_loader_goes_on_where_another_stopped(stop: int) -> None:
    def stream(loader: BatchLoader, count: int) -> list[tuple[int, list[int]]]:
        out: list[tuple[int, list[int]]] = []
        while len(out) < count:
            for batch in loader:
                out.append((batch["batch"], batch["index"].tolist()))
                if len(out) == count:
                    break
        return out

    whole = stream(BatchLoader(numbered(40), 8, shuffle=True), 13)
    first, second = (BatchLoader(numbered(40), 8, shuffle=True) for _ in range(2))
    head = stream(first, stop)
    second.load_state_dict(first.state_dict())
    assert head + stream(second, 13 - stop) == whole


def test_loader_refuses_senseless_sizes() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        BatchLoader(numbered(4), 0, shuffle=True)
    with pytest.raises(ValueError, match="3 images cannot be shared by 4 processes"):
        BatchLoader(numbered(3), 1, shuffle=True, world_size=4)
    with pytest.raises(ValueError, match="eval_batch_size must be at least 1, got -1"):
        Digits(eval_batch_size=-1)


def test_digits_are_split_once_and_for_all(digits: Digits) -> None:
    splits = {name: digits.images(name) for name in ("train", "validation", "test")}
    assert [len(split) for split in splits.values()] == [1077, 360, 360]
    assert splits["train"].pixels.shape == (1077, 1, 8, 8)
    assert int(splits["train"].pixels.max()) == 255
    rows = [row.numpy().tobytes() for split in splits.values() for row in split.pixels]
    assert len(set(rows)) == 1797
    for split in splits.values():
        counts = torch.bincount(split.cond["label"], minlength=10) / len(split)
        assert counts.min() > 0.09
        assert counts.max() < 0.11
    assert splits["test"].cond["label"][:8].tolist() == [1, 4, 8, 6, 5, 9, 9, 1]


def test_digits_enter_in_the_models_range(digits: Digits) -> None:
    raw = next(iter(digits.train_dataloader()))
    batch = digits.on_after_batch_transfer(raw, 0)
    assert batch["image"].dtype == torch.float32
    assert batch["image"].min() == -1.0
    assert batch["image"].max() == 1.0
    assert batch["cond"]["label"].dtype == torch.int64


def test_captions_stay_on_the_host_that_reads_them() -> None:
    data = Shapes(8, 4, 4, image_size=16, batch_size=4, conditions=("text", "attributes"))
    batch = next(iter(data.train_dataloader()))
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert {key: value.device.type for key, value in moved["cond"].items()} == {
        key: "cpu" if key == "text" else "meta" for key in batch["cond"]
    }
    assert moved["pixels"].device.type == moved["index"].device.type == "meta"


def test_augmentation_changes_training_only_and_by_the_batch_number(
    make_trainer: Callable[..., L.Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GenerativeModel, "evaluation_reads_images", True)

    class Spy(L.Callback):
        def __init__(self) -> None:
            self.train: list[torch.Tensor] = []
            self.plain = 0

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.train.append(batch["image"])

        def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
            pixels = trainer.datamodule.images("validation").pixels[batch["index"]]
            self.plain += int(len(pixels) > 0 and torch.equal(batch["image"], pixels / 127.5 - 1))

    def run() -> Spy:
        from conftest import small_cgan

        spy, data = Spy(), Digits(augment=RandomAffine(20, 0.2, 0.2))
        make_trainer(max_steps=3, callbacks=[spy], limit_val_batches=1, val_check_interval=3).fit(
            small_cgan(data), data
        )
        return spy

    one, two = run(), run()
    assert one.plain == 1
    assert all(torch.equal(a, b) for a, b in zip(one.train, two.train, strict=True))
    plain = next(iter(Digits().train_dataloader()))["pixels"] / 127.5 - 1
    assert (one.train[0] - plain).abs().mean() > 0.05


def test_affine_identity_and_range() -> None:
    image = torch.rand(4, 1, 8, 8) * 2 - 1
    same = RandomAffine(0.0, 0.0, 0.0)(image, generator("x"))
    torch.testing.assert_close(same, image, atol=1e-5, rtol=0)
    moved = RandomAffine(30.0, 0.3, 0.3)(image, generator("x"))
    assert moved.min() >= -1.0 - 1e-6
    assert moved.max() <= 1.0 + 1e-6
