"""Extractors of `condgen evaluate` from files: configs with any class, and one's own classifier from the shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from evaluate_inputs import EVALUATE, Fails
from torchvision.models import resnet18

from condgen.cli import main
from condgen.cli.extractor_config import find_extractor
from condgen.metrics import ModuleExtractor

SMALL = ["--subset-size", "50"]
MODULE = "condgen.metrics.ModuleExtractor"
CODE = """
from torch import nn

from condgen.metrics import DigitsExtractor


class Pool(nn.Module):
    def forward(self, image):
        return nn.functional.avg_pool2d(image, 2).flatten(1)


class Mine(DigitsExtractor):
    pass
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, from which modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def write(path: Path, content: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(content))
    return path.name


def test_any_module_scores_from_the_shell(home: Path, folder: Path) -> None:
    net = resnet18(num_classes=4)
    torch.save(net.state_dict(), home / "resnet.pth")
    options: dict[str, Any] = {
        "module": {"class_path": "torchvision.models.resnet18", "init_args": {"num_classes": 4}},
        "name": "resnet18", "image_shape": [3, 32, 32], "weights_path": "resnet.pth", "layer": "avgpool",
        "resample": "bicubic", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    name = write(home / "resnet.yaml", {"class_path": MODULE, "init_args": options})
    assert main(["evaluate", str(folder), str(folder), "--extractor", name, "--out", "out", *SMALL]) == 0
    result = json.loads((home / "out" / "metrics.json").read_text())
    card = result["protocol"]["extractor"]
    assert {"fd_resnet18", "kid_resnet18", "precision"} <= result["scores"].keys()
    assert card["resample"] == "bicubic, antialiased, to 32x32, clamped to [-1, 1]"
    options |= {"module": net, "image_shape": (3, 32, 32)}
    assert card["sha256"] == ModuleExtractor(**options).sha256


def test_a_config_imports_from_trusted_packages_alone(home: Path, fails: Fails, folder: Path) -> None:
    (home / "my_nets.py").write_text(CODE)
    nested = write(
        home / "a.yaml",
        {"class_path": MODULE, "init_args": {"module": "my_nets.Pool", "name": "x", "image_shape": [1, 8, 8]}},
    )
    for name, found in ((nested, "Pool"), (write(home / "b.yaml", {"class_path": "my_nets.Mine"}), "Mine")):
        line = fails(*EVALUATE, folder, "--extractor", name)
        assert line == f"condgen: {name}: my_nets.{found} is not trusted; add --trust my_nets"
        assert "my_nets" not in sys.modules
    assert main([*EVALUATE, str(folder), "--extractor", nested, "--trust", "my_nets", *SMALL]) == 0
    assert type(find_extractor("b.yaml", ["my_nets"])).__name__ == "Mine"
    line = fails(*EVALUATE, folder, "--extractor", write(home / "c.yaml", {"class_path": "os.system"}))
    assert line == "condgen: c.yaml: os.system is Python's own, which no config or checkpoint may name"
    (home / "my_data.py").write_text("from condgen.data import Digits\n\n\nclass Mine(Digits):\n    pass\n")
    data = write(home / "data.yaml", {"data": {"class_path": "my_data.Mine"}})
    bare = ["evaluate", data, folder, "--extractor", "digits", *SMALL]
    assert fails(*bare) == "condgen: my_data.Mine is not trusted; add --trust my_data"
    assert main([*map(str, bare), "--trust", "my_data"]) == 0


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"class_path": "torch.nn.Identity"}, "torch.nn.Identity does not correspond to a subclass of Extractor"),
        (
            {"class_path": "condgen.metrics.DigitExtractor"},
            "no class condgen.metrics.DigitExtractor, did you mean 'Dig",
        ),
        ({"class_path": MODULE, "init_arg": {}}, "takes no 'init_arg', did you mean 'init_args'?"),
        ({"class_path": MODULE, "init_args": {"modul": 1}}, "ModuleExtractor takes no 'modul', did you mean 'module'?"),
        (
            {"class_path": MODULE, "init_args": {"module": "torch.nn.Linear"}},
            "extractor.module needs in_features among",
        ),
        ({"class_path": "condgen.metrics.ClassifierExtractor"}, "extractor needs path among its init_args"),
        (
            {"class_path": "condgen.metrics.ClassifierExtractor", "init_args": {"path": "none"}},
            "none is not a classifier saved by condgen: [Errno 2] No such file or directory",
        ),
        ({"module": "x"}, "must have the keys class_path and init_args"),
        ([], "must have the keys class_path and init_args"),
    ],
)
def test_bad_configs_are_refused_in_a_line(content: Any, line: str, home: Path, fails: Fails) -> None:
    found = fails(*EVALUATE, "x", "--extractor", write(home / "x.yaml", content))
    assert line in found
    assert "x.yaml" in found


def test_files_that_are_no_configs_are_refused(home: Path, fails: Fails) -> None:
    assert fails(*EVALUATE, "x", "--extractor", "none.yaml") == "condgen: no extractor config none.yaml"
    (home / "x.yaml").write_text("{")
    assert "extractor config x.yaml is not YAML: " in fails(*EVALUATE, "x", "--extractor", "x.yaml")


def shell(*args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "condgen", *args], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_train_your_own_classifier_and_judge_by_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands of experiments/extractors/README.md, on a few batches."""
    few = ["-c", "data/digits.yaml", "--trainer.accelerator", "cpu", "--trainer.max_steps"]
    assert main(["fit", "-c", "model/classifier.yaml", *few, "60", "--name", "classifier"]) == 0
    said = capsys.readouterr().out
    (path,) = (str(path.relative_to(home)) for path in home.glob("runs/classifier/*/classifier.safetensors"))
    assert f"--evaluation.extractor condgen.metrics.ClassifierExtractor --evaluation.extractor.path {path}" in said
    assert main(["fit", "-c", "model/cgan.yaml", *few, "4", "--name", "cgan", "--evaluation.extractor", "null"]) == 0
    (run,) = (str(path) for path in home.glob("runs/cgan/*"))
    own = ["--evaluation.extractor", "condgen.metrics.ClassifierExtractor", "--evaluation.extractor.path", path]
    n = ["--evaluation.n_samples", "200", "--evaluation.subset_size", "100"]
    assert main(["test", "-c", run, "--ckpt_path", run, *own, *n, "--name", "tested"]) == 0
    (tested,) = home.glob("runs/tested/*/metrics.json")
    table = shell(
        *EVALUATE, run, "--extractor", path, "--train", "data/digits.yaml", "--n", "200", "--subset-size", "100",
        "--out", "scores"
    )  # fmt: skip
    assert "memorisation" in table
    by_test, by_evaluate = (json.loads(file.read_text()) for file in (tested, home / "scores" / "metrics.json"))
    assert by_test["protocol"]["extractor"] == by_evaluate["protocol"]["extractor"]
    assert by_test["scores"].keys() == by_evaluate["scores"].keys()
    for name, row in by_evaluate["scores"].items():
        assert row["value"] == pytest.approx(by_test["scores"][name]["value"], rel=1e-3, abs=1e-3)
    assert by_evaluate["protocol"]["extractor"]["test_accuracy"] > 0.8
