"""The documents' model, data set, metric and condition, a file each, go all the way from an empty folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import yaml
from conftest import REPO
from PIL import Image

from condgen.checkpoints import CheckpointError, load_model, read_checkpoint
from condgen.cli import main

MODULES = ("my_data", "my_model", "my_condition", "my_metric")
TRUST = ["--trust", "my_model,my_data", "--trust", "my_metric", "--trust=my_condition"]
FIT = [
    "fit", "-c", "trainer/default.yaml", *(word for name in MODULES for word in ("-c", f"{name}.yaml")),
    "--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--model.net.width", "8", "--model.steps", "2",
    "--evaluation.n_samples", "40",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the package with four modules and four configs."""
    folder = tmp_path_factory.mktemp("extension")
    for path in (REPO / "docs" / "examples").glob("my_*"):
        shutil.copy(path, folder)
    assert {path.name for path in folder.iterdir()} == {f"{name}.{end}" for name in MODULES for end in ("py", "yaml")}
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
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(home)
        code = main(list(args))
    return subprocess.CompletedProcess(args, code, out.getvalue(), err.getvalue())


def test_they_train_and_are_tested(runs: tuple[str, str], home: Path) -> None:
    for run in runs:
        (file,) = Path(run).parent.glob("*-test/metrics.json")
        result = json.loads(file.read_text())
        assert result["scores"]["radius_error"]["value"] > 0
        assert result["protocol"]["model"] == "RectifiedFlow"
    config = yaml.safe_load((Path(runs[0]) / "config.yaml").read_text())
    assert config["model"]["class_path"] == "my_model.RectifiedFlow"
    assert config["data"]["class_path"] == "my_data.Discs"


def test_they_are_sampled(runs: tuple[str, str], home: Path) -> None:
    ask = ["sample", "--ckpt", runs[0], "--attributes", "radius=2.5", "--attributes", "radius=6", "--n", "2"]
    refused = in_process(home, *ask)
    assert "is not trusted; add --trust my_model, or load_model(" in refused.stderr
    done = condgen(home, *ask, "--trust", "my_model,my_condition", "--out", "grid.png")
    assert done.returncode == 0, done.stderr
    with Image.open(home / "grid.png") as picture:
        assert picture.size[0] > 16
    assert "RectifiedFlow" in in_process(home, "info", runs[0], "--trust", "my_model,my_condition").stdout
    missing = in_process(home, *ask, "--trust", "my_model")
    assert "my_condition.FourierAttributes is not trusted; add --trust my_condition" in missing.stderr


def test_they_are_compared(runs: tuple[str, str], home: Path) -> None:
    done = in_process(home, "compare", *runs, "--out", "compare.html", *TRUST)
    assert done.returncode == 0, done.stderr
    assert "radius_error" in (home / "compare.md").read_text()
    page = (home / "compare.html").read_text()
    assert "is missing" in page  # what is asked for besides classes is not drawn anew
    assert "is not trusted" not in page
    bare = in_process(home, "compare", *runs, "--out", "bare.html")
    assert bare.returncode == 0  # the runs' stored grids are shown in place of samples
    assert "my_model.RectifiedFlow is not trusted; add --trust my_model" in (home / "bare.html").read_text()


def test_in_python_trust_is_an_argument(runs: tuple[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(home)
    with pytest.raises(CheckpointError, match=r"my_model\.RectifiedFlow is not trusted"):
        load_model(runs[0])
    assert type(load_model(runs[0], trusted=["my_model", "my_condition"])).__name__ == "RectifiedFlow"


def test_the_data_is_shown(home: Path) -> None:
    done = in_process(home, "data", "show", "my_data.yaml", *TRUST)
    assert done.returncode == 0, done.stderr
    assert (home / "data.png").is_file()


def test_they_go_on(runs: tuple[str, str], home: Path) -> None:
    """The last test of these runs: it trains one further."""
    go_on = ["fit", "--resume", runs[1], "--trainer.max_steps", "3"]
    refused = in_process(home, *go_on)
    assert refused.returncode == 2
    assert "is not trusted; add --trust my_" in refused.stderr
    done = in_process(home, *go_on, *TRUST)
    assert done.returncode == 0, done.stderr
    assert read_checkpoint(home / runs[1])["global_step"] == 3
