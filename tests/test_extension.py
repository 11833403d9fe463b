"""A model, a data set, a metric and a condition, each in a file of its own in an empty folder, go all the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from condgen.checkpoints import CheckpointError, load_model, read_checkpoint
from condgen.cli import main

MODEL = '''
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from condgen.models import SingleLossModel


@dataclass(frozen=True)
class Distance:
    power: float = 2.0

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().pow(self.power).mean()


class Painter(nn.Module):
    """Paints noise and condition into an image."""

    def __init__(self, shape: tuple[int, int, int], dims, hidden: int = 64) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(nn.Linear(4 + dims.vector, hidden), nn.ReLU(), nn.Linear(hidden, 64), nn.Tanh())

    def forward(self, z: Tensor, vector: Tensor) -> Tensor:
        return self.layers(torch.cat([z, vector], dim=1)).view(-1, *self.shape)


class Both(nn.Module):
    def __init__(self, net: nn.Module, encoder: nn.Module) -> None:
        super().__init__()
        self.net, self.encoder = net, encoder


class MyModel(SingleLossModel):
    """Regression of the image on its condition: not a good model, but one of its own kind."""

    prior_shape = (4,)

    def __init__(self, image_shape, cond_spec, *, net: type[nn.Module] = Painter, encoder: type[nn.Module],
                 distance: Distance = Distance(), ema_half_life: float | None = 100.0, sample_chunk: int = 16) -> None:
        super().__init__(image_shape, cond_spec, optimizer=None, schedule=None, sample_chunk=sample_chunk)
        self.distance = distance
        encoder = encoder(cond_spec)
        self.both = Both(net(self.image_shape, encoder.dims), encoder)
        self.complete(ema_half_life)

    @property
    def trained_net(self) -> Both:
        return self.both

    def generate(self, noise, cond):
        return self.sampling_net.net(noise, self.sampling_net.encoder(cond).vector)

    def train_on(self, batch):
        z = torch.randn(len(batch["image"]), 4)
        loss = self.distance(self.both.net(z, self.both.encoder(batch["cond"]).vector), batch["image"])
        self.losses["train/loss"] = loss.detach()
        return loss
'''
DATA = '''
import torch

from condgen.data import ImageDataModule, ImageSet

SIZES = {"train": 256, "validation": 32, "test": 32}


class MyData(ImageDataModule):
    """Squares of one tone."""

    image_shape = (1, 8, 8)

    def __init__(self, darkest: float = 0.0, batch_size: int = 32) -> None:
        super().__init__(batch_size, 32, None)
        self.darkest = darkest
        self.cond_spec = {"attributes": {"names": ["tone"], "low": [darkest], "high": [1.0]}}

    def load(self, split):
        tone = torch.linspace(self.darkest, 1.0, SIZES[split])[:, None]
        pixels = (255 * tone).round().to(torch.uint8)[..., None, None].expand(-1, 1, 8, 8).contiguous()
        return ImageSet(pixels, {"attributes": tone})
'''
METRIC = '''
import torch

from condgen.metrics import Obedience
from condgen.metrics.obedience import ratio


class ToneError(Obedience):
    """How far the mean tone of a sample is from the one that was asked for."""

    keys = ("attributes",)
    better = {"tone_error": "lower"}

    def measure(self, image, cond, target):
        error = (image.double().mean(dim=(1, 2, 3)) / 255 - cond["attributes"][:, 0].double()).abs()
        return torch.stack([error, torch.ones_like(error)], dim=1)

    def scores(self, total):
        return {"tone_error": ratio(total[:, 0], total[:, 1])}
'''
CONDITION = '''
import torch

from condgen.conditions import ConditionEncoder
from condgen.conditions.base import choose_null
from condgen.types import CondDims, Encoded


class ToneEncoder(ConditionEncoder):
    """The tone, and its square."""

    keys = ("attributes",)
    dims = CondDims(vector=2)

    def encode(self, cond, drop):
        tone = cond["attributes"]
        return Encoded(vector=choose_null(drop, torch.zeros(2), torch.cat([tone, tone.square()], dim=1)))
'''
MODULES = {"my_model": MODEL, "my_data": DATA, "my_metric": METRIC, "my_condition": CONDITION}
YAMLS = {
    "my_model": {"model": {"class_path": "my_model.MyModel", "init_args": {
        "net": "my_model.Painter", "distance": {"class_path": "my_model.Distance", "init_args": {"power": 1.5}}}}},
    "my_data": {"data": {"class_path": "my_data.MyData", "init_args": {"darkest": 0.2}}},
    "my_metric": {"evaluation": {"obedience": ["my_metric.ToneError"], "n_samples": 64}},
    "my_condition": {"model": {"init_args": {"encoder": "my_condition.ToneEncoder"}}},
}  # fmt: skip
TRUST = ["--trust", "my_model,my_data", "--trust", "my_metric", "--trust=my_condition"]
FIT = [
    "fit", "-c", "trainer/default.yaml", *(word for name in YAMLS for word in ("-c", f"{name}.yaml")),
    "--trainer.max_steps", "400", "--trainer.val_check_interval", "400", "--trainer.accelerator", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the package with four modules and four configs."""
    folder = tmp_path_factory.mktemp("extension")
    for name, code in MODULES.items():
        (folder / f"{name}.py").write_text(code.lstrip())
    for name, content in YAMLS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


def condgen(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "condgen", *args]
    return subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def runs(home: Path) -> tuple[str, str]:
    """Two trained runs, by the real command and in this process, both tested."""
    done = condgen(home, *FIT, *TRUST, "--name", "one")
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main([*FIT, *TRUST, "--name", "two", "--seed_everything", "1"]) == 0
        for name in ("one", "two"):
            (run,) = home.glob(f"runs/{name}/*")
            assert main(["test", "-c", str(run), "--ckpt_path", str(run), *TRUST]) == 0
    return next(map(str, home.glob("runs/one/*[0-9]"))), next(map(str, home.glob("runs/two/*[0-9]")))


def test_without_trust_one_line_says_so(home: Path) -> None:
    for missing in MODULES:
        flags = [word for name in MODULES if name != missing for word in ("--trust", name)]
        done = condgen(home, *FIT, *flags) if missing == "my_data" else in_process(home, *FIT, *flags)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"condgen: {missing}.")
        assert line.endswith(f" is not trusted; add --trust {missing}")


def in_process(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """The same as `condgen`, without a new process."""
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(home)
        code = main(list(args))
    return subprocess.CompletedProcess(args, code, out.getvalue(), err.getvalue())


def test_they_train_and_are_tested(runs: tuple[str, str], home: Path) -> None:
    for run in runs:
        (file,) = Path(run).parent.glob("*-test/metrics.json")
        result = json.loads(file.read_text())
        assert result["scores"]["tone_error"]["value"] < 0.1
        assert result["protocol"]["model"] == "MyModel"
    config = yaml.safe_load((Path(runs[0]) / "config.yaml").read_text())
    assert config["model"]["class_path"] == "my_model.MyModel"
    assert config["data"]["class_path"] == "my_data.MyData"


def test_they_are_sampled(runs: tuple[str, str], home: Path) -> None:
    ask = ["sample", "--ckpt", runs[0], "--attributes", "tone=0.3", "--attributes", "tone=0.9", "--n", "2"]
    refused = in_process(home, *ask)
    assert refused.stderr.endswith("is not trusted; add --trust my_model\n")
    done = condgen(home, *ask, "--trust", "my_model,my_condition", "--out", "grid.png")
    assert done.returncode == 0, done.stderr
    with Image.open(home / "grid.png") as picture:
        assert picture.size[0] > 16
    assert "MyModel" in in_process(home, "info", runs[0], "--trust", "my_model,my_condition").stdout
    missing = in_process(home, *ask, "--trust", "my_model")
    assert missing.stderr.endswith("my_condition.ToneEncoder is not trusted; add --trust my_condition\n")


def test_they_are_compared(runs: tuple[str, str], home: Path) -> None:
    done = in_process(home, "compare", *runs, "--out", "compare.html", *TRUST)
    assert done.returncode == 0, done.stderr
    assert "tone_error" in (home / "compare.md").read_text()
    page = (home / "compare.html").read_text()
    assert "is missing" in page  # what is asked for besides classes is not drawn anew
    assert "is not trusted" not in page
    bare = in_process(home, "compare", *runs, "--out", "bare.html")
    assert bare.returncode == 0  # the runs' stored grids are shown in place of samples
    assert "my_model.MyModel is not trusted; add --trust my_model" in (home / "bare.html").read_text()


def test_in_python_trust_is_an_argument(runs: tuple[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(home)
    with pytest.raises(CheckpointError, match=r"my_model\.MyModel is not trusted"):
        load_model(runs[0])
    assert type(load_model(runs[0], trusted=["my_model", "my_condition"])).__name__ == "MyModel"


def test_the_data_is_shown(home: Path) -> None:
    done = in_process(home, "data", "show", "my_data.yaml", *TRUST)
    assert done.returncode == 0, done.stderr
    assert (home / "data.png").is_file()
    assert os.getcwd() not in sys.path or Path.cwd() != home


def test_they_go_on(runs: tuple[str, str], home: Path) -> None:
    """The last test of these runs: it trains one further."""
    go_on = ["fit", "--resume", runs[1], "--trainer.max_steps", "401"]
    refused = in_process(home, *go_on)
    assert refused.returncode == 2
    assert "is not trusted; add --trust my_" in refused.stderr
    done = in_process(home, *go_on, *TRUST)
    assert done.returncode == 0, done.stderr
    assert read_checkpoint(home / runs[1])["global_step"] == 401
