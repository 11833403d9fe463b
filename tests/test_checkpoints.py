"""A checkpoint is data: it loads without a config, and nothing in it runs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import same_weights, small_cgan

from condgen.checkpoints import CheckpointError, load_model, read_checkpoint
from condgen.conditions import LabelEncoder
from condgen.data import Digits
from condgen.models import CGAN, DCGAN, CosineDecay, LinearDecay
from condgen.nets import DCGANDiscriminator, DCGANGenerator
from condgen.objectives import R1, Hinge


@pytest.fixture
def saved(make_trainer: Callable[..., L.Trainer], tmp_path: Path) -> tuple[CGAN, Path]:
    data = Digits()
    model = small_cgan(data, encoder=partial(LabelEncoder, embedding_dim=6))
    trainer = make_trainer(max_steps=3)
    trainer.fit(model, data)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    trainer.save_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    return model, tmp_path / "run"


def test_a_checkpoint_says_what_it_is(saved: tuple[CGAN, Path]) -> None:
    model, folder = saved
    loaded = load_model(folder)
    assert type(loaded) is CGAN
    assert same_weights(loaded, model)
    assert loaded.progress() == model.progress()
    assert loaded.init_args.keys() == model.init_args.keys()
    assert loaded.init_args["encoder"]["init_args"] == {"embedding_dim": 6}
    seeds, cond = torch.arange(4), {"label": torch.tensor([0, 3, 5, 9])}
    assert torch.equal(loaded.sample(cond, seeds=seeds), model.sample(cond, seeds=seeds))
    assert not loaded.training
    content = read_checkpoint(folder)
    assert content["condgen"]["class_path"] == "condgen.models.CGAN"
    assert content["condgen"]["sampler"] == {"chunk": 64}
    assert content["condgen"]["progress"]["images_seen"] == 192


def test_every_kind_of_argument_survives(make_trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    data = Digits()
    model = DCGAN(
        data.image_shape,
        data.cond_spec,
        generator=partial(DCGANGenerator, width=4),
        discriminator=partial(DCGANDiscriminator, width=4, projection=True, spectral_norm="all"),
        loss=Hinge(),
        penalty=R1(weight=0.5, every=4),
        schedule=LinearDecay(start=10, stop=1000),
        classifier_weight=0.5,
        generator_optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    )
    trainer = make_trainer(max_steps=2)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "file.ckpt")
    loaded = load_model(tmp_path / "file.ckpt")
    assert isinstance(loaded, DCGAN)
    assert same_weights(loaded, model)
    assert loaded.penalty == R1(weight=0.5, every=4)
    assert loaded.schedule == LinearDecay(start=10, stop=1000) != CosineDecay(stop=1000)
    optimizer = loaded.configure_optimizers()[0]
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["momentum"] == 0.9


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_a_pickle_is_refused_and_not_run(saved: tuple[CGAN, Path], tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps(Payload(proof)))
    content = read_checkpoint(saved[1])
    content["extra"] = Payload(proof)
    torch.save(content, tmp_path / "hidden.ckpt")
    for name in ("evil.ckpt", "hidden.ckpt"):
        with pytest.raises(CheckpointError, match=r"holds code: nothing was run"):
            load_model(tmp_path / name)
    assert not proof.exists()


def tampered(folder: Path, path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    content = read_checkpoint(folder)
    change(content)
    torch.save(content, path)
    return path


def test_class_paths_in_a_checkpoint_are_not_imported(
    saved: tuple[CGAN, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name_system(content: dict[str, Any]) -> None:
        content["condgen"]["class_path"] = "os.system"

    def name_popen(content: dict[str, Any]) -> None:
        content["hyper_parameters"]["loss"] = {"class_path": "subprocess.Popen", "init_args": {"args": ["true"]}}

    def name_factory(content: dict[str, Any]) -> None:
        content["hyper_parameters"]["generator"] = {"factory": "evil.f", "init_args": {}}

    def name_string(content: dict[str, Any]) -> None:
        content["hyper_parameters"]["generator"] = "evil.f"

    def name_torch(content: dict[str, Any]) -> None:
        content["hyper_parameters"]["encoder"] = {"factory": "torch.hub.load", "init_args": {}}

    monkeypatch.syspath_prepend(tmp_path)
    proof = tmp_path / "executed"
    (tmp_path / "evil.py").write_text(f"from pathlib import Path\nPath({str(proof)!r}).touch()\nf = dict\n")
    for change, words in (
        (name_system, "os.system is Python's own, which no config or checkpoint may name"),
        (name_popen, "subprocess.Popen is Python's own"),
        (name_factory, "evil.f is not trusted; add --trust evil"),
        (name_string, "cannot be loaded"),
        (name_torch, "torch.hub.load may not be named; of torch may be named the classes of torch.nn, torch.optim"),
    ):
        path = tampered(saved[1], tmp_path / "evil.ckpt", change)
        with pytest.raises(CheckpointError, match=words):
            load_model(path)
    assert not proof.exists()


def test_a_trusted_package_may_hold_the_model(saved: tuple[CGAN, Path], tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "my_models.py").write_text("from condgen.models import CGAN\nclass Mine(CGAN):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)

    def rename(content: dict[str, Any]) -> None:
        content["condgen"]["class_path"] = "my_models.Mine"

    path = tampered(saved[1], tmp_path / "mine.ckpt", rename)
    with pytest.raises(CheckpointError, match="my_models"):
        load_model(path)
    assert type(load_model(path, trusted=["my_models"])).__name__ == "Mine"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no checkpoint"),
        (lambda p: p.mkdir(), "has no checkpoints/last.ckpt"),
        (lambda p: p.write_bytes(b""), "is not a checkpoint"),
        (lambda p: p.write_text("hello"), "is not a checkpoint"),
        (lambda p: torch.save({"state_dict": {}}, p), "was not written by condgen"),
        (lambda p: torch.save([1, 2], p), "was not written by condgen"),
        (lambda p: torch.save({"condgen": {"format": 99}}, p), "has format '99'; this version reads format 1"),
        (lambda p: torch.save({"condgen": {"format": 1}}, p), "is damaged: its class"),
        (lambda p: torch.save({"condgen": {"format": 1, "class_path": 5}, "hyper_parameters": {}}, p), "is damaged"),
    ],
)
def test_other_files_are_named(make: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.ckpt"
    make(path)
    with pytest.raises(CheckpointError, match=message):
        load_model(path)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/a.ckpt", "https://127.0.0.1:1/a.ckpt", "s3://a/b.ckpt"])
def test_addresses_are_refused(address: str) -> None:
    with pytest.raises(CheckpointError, match="is an address"):
        load_model(address)


def test_truncated_and_mismatched_files_are_one_line(saved: tuple[CGAN, Path], tmp_path: Path) -> None:
    file = saved[1] / "checkpoints" / "last.ckpt"
    (tmp_path / "half.ckpt").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(tmp_path / "half.ckpt")

    def drop(content: dict[str, Any]) -> None:
        content["state_dict"].popitem()

    with pytest.raises(CheckpointError, match=r"cannot be loaded: .*Missing key") as caught:
        load_model(tampered(saved[1], tmp_path / "less.ckpt", drop))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_family_does_not_resume(
    saved: tuple[CGAN, Path], make_trainer: Callable[..., L.Trainer]
) -> None:
    data = Digits()
    model = DCGAN(data.image_shape, data.cond_spec)
    with pytest.raises((ValueError, RuntimeError), match=r"is of condgen\.models\.CGAN, not of condgen\.models\.DCGAN"):
        make_trainer(max_steps=9).fit(model, data, ckpt_path=saved[1] / "checkpoints" / "last.ckpt", weights_only=True)


def test_lightnings_own_loader_points_to_ours(saved: tuple[CGAN, Path]) -> None:
    with pytest.raises(TypeError, match="load_model"):
        CGAN.load_from_checkpoint(saved[1])
