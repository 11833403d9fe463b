from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import invalidate_caches
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from evaluate_inputs import Fails, twenty_of_each, write_pngs
from report_runs import Page

from condgen.cli import main
from condgen.data import Digits, ImageSet
from condgen.models import CGAN
from condgen.nets import MLPDiscriminator, MLPGenerator

REPO = Path(__file__).parent.parent
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
# One thread: tests share the cores, as do processes that they start, and forked ones cannot use a pool of threads.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    before = os.environ.get("PL_GLOBAL_SEED")
    L.seed_everything(0, verbose=False)
    yield
    os.environ.pop("PL_GLOBAL_SEED", None)
    if before is not None:
        os.environ["PL_GLOBAL_SEED"] = before


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests, and the processes that they start, out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONDGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="module")
def own_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget modules of temporary folders, which other tests write elsewhere under the same names."""
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(folder):
            del sys.modules[name]
    invalidate_caches()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let downloads that fail be tried again at once."""
    monkeypatch.setattr("condgen.download.PAUSE", 0.0)


@pytest.fixture(scope="session")
def digits() -> Digits:
    return Digits()


@pytest.fixture(scope="session")
def samples(digits: Digits) -> ImageSet:
    """200 training images, 20 of each class, in the order of their classes."""
    return twenty_of_each(digits)


@pytest.fixture(scope="session")
def folder(samples: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as PNG files in class subfolders; not to be changed."""
    return write_pngs(samples, tmp_path_factory.mktemp("images"))


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    return Fails(capsys)


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    def make(**kwargs: Any) -> L.Trainer:
        settings: dict[str, Any] = {
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "limit_val_batches": 0,
            "num_sanity_val_steps": 0,
            "default_root_dir": tmp_path,
        }
        return L.Trainer(**settings | kwargs)

    return make


@pytest.fixture
def float64_schedulers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let diffusers, which keeps its tables in float32, compute in float64."""
    monkeypatch.setattr(torch, "float32", torch.float64)
    monkeypatch.setattr(np, "float32", np.float64)


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Page]:
    """Compare runs, and return the page."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> Page:
        assert main(["compare", *map(str, args)]) == 0
        return Page((tmp_path / "compare.html").read_text())

    return run


def small_cgan(digits: Digits, **kwargs: Any) -> CGAN:
    """A CGAN without dropout that trains in milliseconds."""
    settings: dict[str, Any] = {
        "generator": partial(MLPGenerator, latent_dim=8, hidden=(16,)),
        "discriminator": partial(MLPDiscriminator, hidden=(16,), dropout=0.0),
    }
    return CGAN(digits.image_shape, digits.cond_spec, **settings | kwargs)


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[key], other[key]) for key in mine)


def mnist_root() -> Path:
    """The folder of MNIST's files, from CONDGEN_MNIST or the places where it usually is."""
    for folder in (os.environ.get("CONDGEN_MNIST", ""), REPO / "data", REPO.parent / "shared" / "data"):
        if folder and (Path(folder) / "MNIST" / "raw").is_dir():
            return Path(folder)
    pytest.skip("MNIST is not here; set CONDGEN_MNIST to the folder that holds MNIST/raw")
