"""Configs and checkpoints name classes of a few packages, and of what the user trusts; nothing else is reached."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from condgen.cli import main
from condgen.cli.data_config import built
from condgen.cli.errors import UserError
from condgen.cli.restricted import check_config, restricted
from condgen.cli.trust import split_trusted, trusting
from condgen.data import ImageDataModule
from condgen.data.splits import RandomSplit
from condgen.trust import CHECKPOINT_PACKAGES, CONFIG_PACKAGES, UntrustedError, check_named, find_named, import_class
from condgen.yaml_file import YAMLError, load_yaml

DIGITS = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml"]
Fails = Callable[..., str]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fails:
    """Run a command that must fail with one line, in an empty folder; return the line."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object, code: int = 2) -> str:
        assert main([str(arg) for arg in args]) == code
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line.removeprefix("condgen: ")

    return run


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "path",
    [
        "condgen.nets.UNet",
        "condgen.models.CGAN",
        "condgen.data.image_folder.ImageFolder",
        "torch.nn.Linear",
        "torch.nn.functional.relu",
        "torch.optim.AdamW",
        "torchvision.models.resnet18",
        "torchvision.transforms.v2.RandomCrop",
        "torchmetrics.classification.MulticlassAccuracy",
        "lightning.pytorch.loggers.CSVLogger",
        "lightning.pytorch.loggers.tensorboard.TensorBoardLogger",
        "condgen.callbacks.WandbLog",
        "lightning.pytorch.plugins.environments.SLURMEnvironment",
        "lightning.pytorch.strategies.DDPStrategy",
    ],
)
def test_what_a_config_needs_may_be_named(path: str) -> None:
    assert find_named(path, CONFIG_PACKAGES, ()).__name__ == path.rpartition(".")[2]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("os.system", "os.system is Python's own"),
        ("builtins.eval", "Python's own"),
        ("subprocess.Popen", "Python's own"),
        ("posix.system", "Python's own"),
        (
            "torch.hub.load",
            "torch.hub.load may not be named; of torch may be named the classes of torch.nn, torch.optim",
        ),
        ("torch.load", "may not be named"),
        ("torch.jit.load", "may not be named"),
        ("torch.utils.cpp_extension.load_inline", "may not be named"),
        ("condgen.checkpoints.load_model", "may not be named"),
        ("condgen.cli.main", "may not be named"),
        ("condgen.models.plain.from_plain", "may not be named"),
        ("condgen.download.download", "may not be named"),
        ("condgen.data.open_images", "is a function"),
        ("lightning.pytorch.LightningModule", "may not be named"),
        ("lightning.pytorch.Trainer", "may not be named"),
        ("lightning.fabric.utilities.cloud_io._load", "may not be named"),
        ("lightning.pytorch.strategies.launchers.subprocess_script._SubprocessScriptLauncher", "may not be named"),
        ("lightning.pytorch.loggers.WandbLogger", "is not trusted, for a config can choose the server"),
        ("lightning.pytorch.loggers.mlflow.MLFlowLogger", "; add --trust lightning.pytorch.loggers"),
        ("torch.nn.attention._fa3.register_flash_attention_fa3", "may not be named"),
        ("torchvision.datasets.lsun.LSUN", "may not be named"),
        ("torchmetrics.image.FrechetInceptionDistance", "torchmetrics.image.fid.FrechetInceptionDistance may not be"),
        ("torchvision.datasets.LSUN", "torchvision.datasets.lsun.LSUN may not be named"),
        ("torchvision.datasets.utils.download_url", "is a function"),
        ("condgen.models.base.evaluating", "is a function"),
        ("condgen.models.CGAN.load_from_checkpoint", "there is no class"),
        ("condgen.nets.layers.annotations", "Python's own"),
        ("condgen.data.decode.Image", "PIL.Image is a module"),
        ("condgen.data.decode.Path", "Python's own"),
        ("condgen.data.shard_samples.json", "json is a module"),
        ("timm.create_model", "timm.create_model is not trusted; add --trust timm"),
        ("condgen..nets", "is not the path of a class"),
        ("torch.nn.Linear; import os", "is not the path of a class"),
        ("", "is not the path of a class"),
        ("torch.nn." + "A" * 1000, "is not the path of a class"),
        (5, "is not the path of a class"),
        (None, "is not the path of a class"),
    ],
)
def test_other_names_are_refused(path: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        find_named(path, CONFIG_PACKAGES, ())
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_refused_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile_one.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for packages in (CHECKPOINT_PACKAGES, CONFIG_PACKAGES):
        with pytest.raises(UntrustedError, match=r"hostile_one\.A is not trusted; add --trust hostile_one"):
            import_class("hostile_one.A", packages)
    assert "hostile_one" not in sys.modules


def test_a_trusted_module_gives_what_it_defines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os\nfrom os import system\nfrom subprocess import Popen\nclass Own: pass\ndef make(): pass\n"
    (tmp_path / "own_one.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("Own", "make"):
        assert find_named(f"own_one.{name}", (), ["own_one"]).__name__ == name
    for name, origin in (("system", "posix.system"), ("Popen", "subprocess.Popen"), ("os", "os is a module")):
        with pytest.raises(UntrustedError, match=rf"{origin}|is a function"):
            find_named(f"own_one.{name}", (), ["own_one"])


def test_checkpoints_may_name_less_than_configs() -> None:
    for path in ("condgen.data.Digits", "condgen.metrics.ClassifierExtractor", "lightning.pytorch.loggers.CSVLogger"):
        with pytest.raises(UntrustedError, match=r"may not be named|is not trusted"):
            import_class(path, CHECKPOINT_PACKAGES)


def test_no_package_of_the_list_is_missing() -> None:
    for package in CONFIG_PACKAGES:
        assert pkgutil.resolve_name(package)
    check_named(torch.nn.Linear, CHECKPOINT_PACKAGES, ())


# ---------------------------------------------------------------------- configs


SHELL = "os.system"
CALLBACK = {"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {}}
CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"model": {"class_path": SHELL, "init_args": {"command": "touch proof"}}}, "os.system is Python's own"),
    ({"data": {"class_path": SHELL, "init_args": {"command": "touch proof"}}}, "os.system is Python's own"),
    ({"model": {"init_args": {"generator": {"class_path": "subprocess.Popen"}}}}, "Python's own"),
    ({"model": {"init_args": {"generator": "torch.hub.load"}}}, "torch.hub.load may not be named"),
    ({"model": {"init_args": {"encoder": "condgen.data.decode.Path"}}}, "pathlib.Path is Python's own"),
    ({"model": {"init_args": {"generator_optimizer": "builtins.exec"}}}, "Python's own"),
    ({"model": {"class_path": "condgen.checkpoints.load_model", "init_args": {"path": "x"}}}, "may not be named"),
    ({"model": {"class_path": "condgen.models.CGAN.load_from_checkpoint", "init_args": {}}}, "does not correspond to"),
    (
        {"model": {"class_path": "lightning.pytorch.LightningModule.load_from_checkpoint", "init_args": {}}},
        "may not be named",
    ),
    ({"trainer": {"callbacks": [CALLBACK | {"init_args": {"on_fit_start": SHELL}}]}}, "Python's own"),
    (
        {"trainer": {"callbacks": [CALLBACK | {"init_args": {"on_fit_start": "condgen.cli.main"}}]}},
        "condgen.cli.main may not be named",
    ),
    (
        {"trainer": {"callbacks": [CALLBACK | {"init_args": {"on_fit_start": "condgen.data.open_images"}}]}},
        "is a function",
    ),
    ({"trainer": {"callbacks": [{"class_path": "runpy.run_path", "init_args": {"path_name": "x"}}]}}, "Python's own"),
    ({"trainer": {"logger": {"class_path": "webbrowser.open", "init_args": {"url": "x"}}}}, "Python's own"),
    (
        {"trainer": {"logger": {"class_path": "WandbLogger", "dict_kwargs": {"settings": {"base_url": "http://x"}}}}},
        "lightning.pytorch.loggers.WandbLogger is not trusted",
    ),
    ({"trainer": {"plugins": "subprocess.Popen"}}, "Python's own"),
    ({"evaluation": {"extractor": {"class_path": "pickle.load"}}}, "Python's own"),
    ({"trust": ["os"]}, "trust is not for configs to give: say --trust PACKAGE on the command line"),
    ({"trust": "os"}, "trust is not for configs to give"),
]


@pytest.mark.parametrize(("content", "reason"), CONFIGS)
def test_configs_reach_nothing_that_runs(content: dict[str, Any], reason: str, fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "hostile.yaml").write_text(yaml.safe_dump(content))
    assert reason in fails("fit", *DIGITS, "-c", "hostile.yaml")
    assert {path.name for path in tmp_path.iterdir()} == {"hostile.yaml"}


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--model", "os.system"], "Python's own"),
        (["--model.generator", "os.system"], "Python's own"),
        (["--model.generator", "torch.nn.modules.module.OrderedDict"], "collections.OrderedDict is Python's own"),
        (["--model.help", "os.system"], "Python's own"),
        (["--trainer.callbacks+=os.system"], "Python's own"),
    ],
)
def test_flags_reach_nothing_that_runs(flags: list[str], reason: str, fails: Fails, tmp_path: Path) -> None:
    assert reason in fails("fit", *DIGITS, *flags)
    assert not list(tmp_path.iterdir())


def test_nothing_is_built_where_any_value_may_stand() -> None:
    """A mapping that looks like a class in a place without a type stays a mapping."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--any", type=dict[str, Any])
    with restricted(()):
        config = parser.parse_args(['--any={"x": {"class_path": "condgen.data.Digits", "init_args": {}}}'])
        assert dict(parser.instantiate(config).any["x"])["class_path"] == "condgen.data.Digits"
        with pytest.raises(UntrustedError, match="Python's own"):
            check_config({"x": [{"class_path": "os.system"}]}, ())
        with pytest.raises(UntrustedError, match="system is a function"):
            check_config({"x": os.system}, ())


def test_the_data_of_a_runs_config_is_built_as_the_run_built_it() -> None:
    card = {"class_path": "condgen.data.ImageFolder", "init_args": {"root": "x", "image_size": 8}}
    card["init_args"] |= {"split": {"validation": 0.2, "test": 0.3}}  # type: ignore[operator]
    assert built(ImageDataModule, "data", [card], [], ()).split == RandomSplit(0.2, 0.3)  # type: ignore[attr-defined]
    for hostile in ("os.system", "condgen.models.CGAN", "condgen.data.open_images"):
        with pytest.raises(UserError):
            built(ImageDataModule, "data", [card | {"class_path": hostile}], [], ())
    dated = {"class_path": "condgen.data.Digits", "init_args": {"batch_size": load_yaml("2026-01-01")}}
    with pytest.raises(UserError, match="batch_size must be int"):
        built(ImageDataModule, "data", [dated], [], ())


def test_the_parser_is_left_as_it_was() -> None:
    from jsonargparse import get_loader
    from jsonargparse._common import parsing_settings

    before, loader = dict(parsing_settings), get_loader("yaml")
    with restricted(()):
        assert parsing_settings != before
    assert parsing_settings == before
    assert get_loader("yaml") is loader


# ---------------------------------------------------------------------- the flag


def test_the_flag_is_taken_out_of_any_command_line() -> None:
    assert split_trusted(["a", "--trust", "x,y.z", "b", "--trust=w"]) == (["x", "y.z", "w"], ["a", "b"])
    for args in (["--trust"], ["--trust", ""], ["--trust", "a-b"], ["--trust="], ["--trust", "a,"], ["--trust", "--n"]):
        with pytest.raises(UserError, match="--trust takes the name of a module"):
            split_trusted(args)
    for name in ("os", "subprocess", "builtins", "os.path", "jsonargparse"):
        with pytest.raises(UserError, match="would let a config run anything"):
            split_trusted(["--trust", name])


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("broken_a", "def broken(:", "SyntaxError: invalid syntax (broken_a.py, line 1)"),
        ("broken_b", "import no_such_module_at_all", "--trust broken_b: No module named 'no_such_module_at_all'"),
        ("broken_c", "\n\nraise RuntimeError('boom')", "--trust broken_c: broken_c.py, line 3: RuntimeError: boom"),
        ("broken_e", None, "no module 'broken_e' here or installed, did you mean 'broken_d'?"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(
    name: str, code: str | None, reason: str, fails: Fails, tmp_path: Path
) -> None:
    (tmp_path / f"{name if code else 'broken_d'}.py").write_text(code or "")
    for verb in (["fit", *DIGITS], ["sample", "--ckpt", "x"], ["data", "show", "data/digits.yaml"]):
        assert reason in fails(*verb, "--trust", name)


def test_without_trust_torch_unpickles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    name, other = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(other, "1")
    with trusting(()):
        assert (os.environ[name], os.environ[other]) == ("1", "0")
    assert name not in os.environ
    assert os.environ[other] == "1"


def test_the_working_folder_is_searched_for_trusted_modules_alone(tmp_path: Path) -> None:
    """A module that happens to lie there is not imported by any library, unless the user trusts something there."""
    for name in ("tensorboard", "mlflow", "comet_ml", "torch_xla"):
        (tmp_path / f"{name}.py").write_text(f"from pathlib import Path\nPath('{name}-ran').touch()\n")
    script = Path(sys.executable).with_name("condgen")
    args = [
        "fit",
        *DIGITS,
        "--trainer.max_steps",
        "1",
        "--evaluation.extractor",
        "null",
        "--trainer.accelerator",
        "cpu",
    ]
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run([script, *args], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("*-ran"))


# ---------------------------------------------------------------------- YAML


def test_yaml_is_plain_and_of_a_size() -> None:
    assert load_yaml("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}
    laughs = "a0: &a0 [x, x]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
    for text, reason in (
        (laughs, "more than 200,000 values"),
        ("[" * 60 + "]" * 60, "nested deeper than 50"),
        ("[" * 100_000, "nested deeper than 50"),
        ("a: &a [*a]", "stands for nothing, or for what it is in"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: [", "did not find expected node content"),
        ("a: 2026-99-99", "month must be in 1..12"),
    ):
        with pytest.raises(YAMLError, match=reason) as caught:
            load_yaml(text)
        assert "\n" not in str(caught.value)


def test_large_yaml_is_one_line_wherever_it_is_read(fails: Fails, tmp_path: Path) -> None:
    laughs = "a0: &a0 [x, x]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
    (tmp_path / "large.yaml").write_text(laughs)
    for args in (
        ["fit", *DIGITS, "-c", "large.yaml"],
        ["fit", *DIGITS, "--model", "large.yaml"],
        ["fit", *DIGITS, "--model.generator.hidden", "[" * 1000],
        ["data", "show", "large.yaml"],
        ["evaluate", "data/digits.yaml", "x", "--extractor", "large.yaml"],
    ):
        assert len(fails(*args)) < 1000
