"""The command line as a user meets it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import REPO
from PIL import Image

from condgen.cli import VERBS, main
from condgen.cli.errors import UserError
from condgen.cli.files import find_config

QUICK = str(REPO / "experiments" / "quickstart" / "quickstart.yaml")
SHORT = ["--trainer.max_steps", "40", "--trainer.val_check_interval", "20", "--evaluation.n_samples", "100"]


def command(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "condgen", *args], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One short run, made by the real command."""
    folder = tmp_path_factory.mktemp("cli")
    done = command("fit", "-c", QUICK, *SHORT, cwd=folder)
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs" / "quickstart").iterdir()
    return SimpleNamespace(folder=folder, run=run, out=done.stdout, err=done.stderr)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must fail with one line and a code; return the line."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str, code: int = 2) -> str:
        assert main(list(args)) == code
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert "Traceback" not in lines[0]
        return lines[0]

    return run


def test_help_lists_every_verb() -> None:
    out = subprocess.run([sys.executable, "-m", "condgen", "--help"], capture_output=True, text=True, check=True)
    assert all(verb in out.stdout for verb in VERBS)


def test_a_run_leaves_its_config_curves_checkpoints_and_pictures(finished: SimpleNamespace) -> None:
    run = finished.run
    assert {p.name for p in run.iterdir()} == {"config.yaml", "hparams.yaml", "metrics.csv", "checkpoints", "samples"}
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"last.ckpt", "images=000002560.ckpt"}
    assert [p.name for p in (run / "samples").iterdir()] == ["images-000002560.png"]
    with Image.open(run / "samples" / "images-000002560.png") as picture:
        assert picture.size == (8 * 50 + 2, 10 * 50 + 2)
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows if row["val/fd_digits"]] == [1280, 2560]
    assert "seed_everything: 0" in (run / "config.yaml").read_text()
    assert "batch 40/40" in finished.out
    assert "validation at 2,560 images  label_accuracy 0." in finished.out
    assert "images/s" in finished.out
    assert "\x1b" not in finished.out
    assert f"run folder   runs/quickstart/{run.name}" in finished.out


def test_the_saved_config_repeats_the_run_in_a_new_folder(finished: SimpleNamespace, tmp_path: Path) -> None:
    done = command("fit", "-c", str(finished.run / "config.yaml"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (again,) = (tmp_path / "runs" / "quickstart").iterdir()

    def pictures(run: Path) -> list[str]:
        return [sha256(path.read_bytes()).hexdigest() for path in sorted((run / "samples").iterdir())]

    def weights(run: Path) -> dict:
        import torch

        return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    import torch

    first, second = weights(finished.run), weights(again)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert pictures(again) == pictures(finished.run)


def test_test_and_validate_score_a_run(
    finished: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb, split in (("test", "test"), ("validate", "validation")):
        assert main([verb, str(finished.run)]) == 0
        out = capsys.readouterr().out
        folder = Path(out.splitlines()[-2].removeprefix("run folder").strip())
        protocol = json.loads((folder / "metrics.json").read_text())["protocol"]
        assert folder.name.endswith(f"-{verb}")
        assert protocol["checkpoint"] == str(finished.run / "checkpoints" / "last.ckpt")
        assert "checkpoint: " in (folder / "config.yaml").read_text().splitlines()[1]
        assert "ckpt_path: null" in (folder / "config.yaml").read_text()
        assert protocol["split"] == split
        assert protocol["images_seen"] == 2560
        assert "label_accuracy" in out


def test_info_tells_the_data_and_the_scores_of_a_run(
    finished: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(finished.run, tmp_path / "mine" / "20260101-000000")
    assert main(["info", str(run)]) == 0
    assert "data         Digits" in capsys.readouterr().out
    assert main(["test", str(run), "--evaluation.n_samples", "20", "--runs", str(tmp_path), "--name", "mine"]) == 0
    capsys.readouterr()
    (scores,) = run.parent.glob("*-test")
    for folder in (run, scores):
        assert main(["info", str(folder)]) == 0
        out = capsys.readouterr().out
        assert "scores       label_accuracy 0." in out
        assert f"scored       20 samples, test split, in {scores / 'metrics.json'}" in out
        assert f"of           {run / 'checkpoints' / 'last.ckpt'}" in out


def test_the_newest_run_of_a_name_is_meant_by_the_name(
    finished: SimpleNamespace, tmp_path: Path, fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / "runs" / "mine"
    for stamp in ("20250101-000000", "20260101-000000"):
        shutil.copytree(finished.run, named / stamp)
    (named / "20270101-000000-test").mkdir()
    assert main(["info", str(named)]) == 0
    assert str(named / "20260101-000000" / "checkpoints" / "last.ckpt") in capsys.readouterr().out
    assert sample(named, tmp_path / "x.npz", "--n", "1") == 0
    assert main(["fit", "--resume", str(named), "--trainer.max_steps", "41"]) == 0
    assert f"goes on from step 40 in {named / '20260101-000000'}" in capsys.readouterr().out
    assert main(["test", str(named), "--evaluation.n_samples", "20"]) == 0
    file = shutil.copy(finished.run / "checkpoints" / "last.ckpt", tmp_path / "alone.ckpt")
    assert f"{file} has no config.yaml beside it: give one as test -c CONFIG" in fails("test", str(file))


def test_a_folder_of_samples_is_of_one_call(
    finished: SimpleNamespace, tmp_path: Path, fails: Callable[..., str]
) -> None:
    out = tmp_path / "some"
    assert sample(finished.run, out, "--label", "3", "--n", "2") == 0
    assert sample(finished.run, out, "--label", "3", "--n", "3") == 0
    assert len([*out.iterdir()]) == 3
    args = ("sample", "--ckpt", str(finished.run), "--out", str(out), "--label", "4", "--n", "2")
    assert f"{out} holds other images, such as label=3" in fails(*args)
    assert len([*out.iterdir()]) == 3


def test_predict_writes_an_image_per_test_condition(
    finished: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "-c", str(finished.run), "--ckpt_path", str(finished.run)]) == 0
    files = sorted(tmp_path.rglob("predictions/*.png"))
    assert [path.name for path in (files[0], files[-1])] == ["00000.png", "00359.png"]
    assert len(files) == 360
    assert f"images       {files[0].parent.relative_to(tmp_path)}" in capsys.readouterr().out


def sample(run: Path, out: Path, *args: str) -> int:
    return main(["sample", "--ckpt", str(run), "--out", str(out), *args])


def test_an_image_is_the_same_alone_and_in_company(finished: SimpleNamespace, tmp_path: Path) -> None:
    for out, args in (
        ("one", ["--label", "3", "--seeds", "7"]),
        ("five", ["--label", "3", "--seeds", "5-9"]),
        ("many", ["--label", "3", "--n", "64"]),
        ("classes", ["--label", "2-3,9", "--seeds", "7,1"]),
    ):
        assert sample(finished.run, tmp_path / out, *args) == 0
    files = [tmp_path / out / "label=3-seed=7.png" for out in ("one", "five", "many", "classes")]
    assert len({path.read_bytes() for path in files}) == 1
    assert len(list((tmp_path / "many").iterdir())) == 64
    assert (tmp_path / "many" / "label=3-seed=8.png").read_bytes() != files[0].read_bytes()


def test_sample_needs_a_checkpoint_only(
    finished: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = finished.run / "checkpoints" / "last.ckpt"
    assert sample(file, tmp_path / "grid.png") == 0
    assert "80 images in" in capsys.readouterr().out
    assert sample(finished.run, tmp_path / "row.png", "--label", "3,7", "--n", "16", "--seeds", "0-15") == 0
    with Image.open(tmp_path / "row.png") as picture:
        assert picture.size == (16 * 50 + 2, 2 * 50 + 2)


def test_mistakes_of_sample_are_one_line(finished: SimpleNamespace, fails: Callable[..., str], tmp_path: Path) -> None:
    run = str(finished.run)
    assert "no class '10'" in fails("sample", "--ckpt", run, "--label", "10")
    assert "0 to 9" in fails("sample", "--ckpt", run, "--label", "-1")
    assert "0 to 9" in fails("sample", "--ckpt", run, "--label", "5-12")
    assert "--out takes a .png file" in fails("sample", "--ckpt", run, "--out", "x.jpg")
    assert "needs as many seeds" in fails("sample", "--ckpt", run, "--n", "4", "--seeds", "0-15")
    assert "did you mean '--label'?" in fails("sample", "--ckpt", run, "--lable", "3")
    assert "--n must be from 1 to 1,000,000, got 0" in fails("sample", "--ckpt", run, "--n", "0")
    assert "invalid int value: 'x'" in fails("sample", "--ckpt", run, "--n", "x")
    assert "--seeds takes numbers >= 0" in fails("sample", "--ckpt", run, "--seeds", "a-b")
    assert "names no seed" in fails("sample", "--ckpt", run, "--seeds", "9-3")
    assert "--seeds names the same one twice" in fails("sample", "--ckpt", run, "--seeds", "1,1")
    assert "--label names the same one twice" in fails("sample", "--ckpt", run, "--label", "3,3")
    assert "needs as many seeds" in fails("sample", "--ckpt", run, "--seeds", "1,2", "--n", "3")
    assert "no checkpoint nowhere.ckpt" in fails("sample", "--ckpt", "nowhere.ckpt")
    assert "is an address" in fails("sample", "--ckpt", "https://127.0.0.1/x.ckpt")
    assert "required: --ckpt" in fails("sample")
    (tmp_path / "text.ckpt").write_text("hello")
    assert "is not a checkpoint" in fails("sample", "--ckpt", "text.ckpt")
    (tmp_path / "file").write_text("")
    assert "file/grid.png cannot be written: " in fails("sample", "--ckpt", run, "--out", "file/grid.png")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["fti"], "no verb 'fti', did you mean 'fit'?"),
        (["fit", "-c", "condition/label.yaml", "-c", QUICK], "before any is named: give it after the model's"),
        (["fit", "-c", QUICK, "--trainer.max_step", "5"], "no option 'trainer.max_step', did you mean 'trainer.max_s"),
        (["fit"], "fit: give a config, -c CONFIG"),
        (["test"], "test: give a config, -c CONFIG, or a run: condgen test RUN"),
        (
            ["fit", "-c", QUICK, "--trainer.val_check_interval", "0"],
            "trainer.val_check_interval must be above 0, got 0",
        ),
        (["sample", "--label", "1", "--label", "2"], "sample: --label was given twice, as '1' and '2'"),
        (["fit", "-c", QUICK, "--modle.foo", "3"], "no option 'modle', did you mean 'model'?"),
        (["fit", "-c", QUICK, "--trainer.max_stps", "3"], "did you mean 'trainer.max_steps'?"),
        (["fit", "-c", QUICK, "--model.discriminator_stps", "3"], "did you mean 'discriminator_steps'?"),
        (
            ["fit", "-c", QUICK, "--model.generator.hiden", "[3]"],
            "MLPGenerator takes no 'hiden', did you mean 'hidden'?",
        ),
        (["fit", "-c", QUICK, "--model.loss", "Hinje"], "model.loss: no class 'Hinje', did you mean 'Hinge'?"),
        (["fit", "-c", QUICK, "--data", "Digit"], "data: no class 'Digit', did you mean 'Digits'?"),
        (["fit", "--model", "CGANN", "--data", "Digits"], "model: no class 'CGANN', did you mean 'CGAN'?"),
        (["fit", "-c", QUICK, "--trainer.max_steps", "x"], "trainer.max_steps must be int, got 'x'"),
        (["fit", "-c", QUICK, "--model.discriminator_steps", "x"], "model.discriminator_steps must be int, got 'x'"),
        (["fit", "-c", QUICK, "--model.generator_optimizer.lr", "x"], "generator_optimizer.lr must be float, got 'x'"),
        (["fit", "-c", QUICK, "--model.discriminator_steps", "0"], "discriminator_steps must be at least 1, got 0"),
        (["fit", "-c", QUICK, "--model.generator.latent_dim", "0"], "latent_dim must be at least 1, got 0"),
        (["fit", "-c", QUICK, "--data.batch_size", "0"], "batch_size must be at least 1, got 0"),
        (["fit", "-c", QUICK, "--model.image_shape", "[1,8,8]"], "model.image_shape comes from the data"),
        (["fit", "-c", QUICK, "--model.cond_spec", "{}"], "model.cond_spec comes from the data"),
        (["fit", "-c", QUICK, "--trainer.gradient_clip_val", "1"], "use model.gradient_clip_val"),
        (["fit", "-c", QUICK, "--trainer.accumulate_grad_batches", "2"], "use model.accumulate_grad_batches"),
        (["fit", "-c", QUICK, "--trainer.default_root_dir", "x"], "choose it with --runs and --name"),
        (["fit", "-c", QUICK, "--trainer.logger", "false"], "trainer.logger cannot be false"),
        (["fit", "-c", QUICK, "--trainer.overfit_batches", "2"], "has no effect"),
        (["fit", "-c", QUICK, "--trainer.devices", "foo"], "trainer.devices must be a number"),
        (["fit", "-c", QUICK, "--trainer.devices", "a" * 9999], f"or auto, got '{'a' * 119}..."),
        (["info", "x", ""], "info: no option ''"),
        (["info", "x", "a" * 9999], f"info: no option {'a' * 500}..."),
        (["fit", "-c", QUICK, "--trainer.devices", "99999999"], "trainer.devices must be at most 1024, got 99999999"),
        (
            ["fit", "-c", QUICK, "-c", "model/ddpm.yaml", "--model.net.blocks", "9" * 18],
            "a number in the config is too",
        ),
        (["interpolate", "--ckpt", "x", "--frames", "99999"], "--frames must be at most 10000, got 99999"),
        (["fit", "-c", QUICK, "--trainer.precision", "b16"], "got 'b16', did you mean 'bf16'?"),
        (["fit", "-c", QUICK, "--trainer.precision", "bf16-mxed"], "did you mean 'bf16-mixed'?"),
        (["fit", "-c", QUICK, "--trainer.precision", "bf16-true"], "are lost; use bf16-mixed"),
        (["fit", "-c", QUICK, "--trainer.precision", "64-true"], "images and conditions are float32; use 32-true"),
        (["fit", "-c", QUICK, "--checkpoint.monitor", "val/fd_digit"], "did you mean 'val/fd_digits'?"),
        (["fit", "-c", QUICK, "--weights_only", "false"], "weights_only cannot be false"),
        (["fit", "--model", "condgen.modelz.CGAN", "--data", "Digits"], "did you mean 'condgen.models'?"),
        (
            ["fit", "-c", QUICK, "--model.generater.hidden", "[3]"],
            "CGAN takes no 'generater', did you mean",
        ),
        (
            ["fit", "-c", QUICK, "--model.penalty", "R1", "--model.penalty.weight", "-1"],
            "condgen: a penalty needs",
        ),
        (
            ["fit", "-c", QUICK, "--model", "condgen.models.GenerativeModel"],
            "must define generate, prior_shape, train_on",
        ),
        (
            ["fit", "--data", "Digits", "--model", "AdversarialModel"],
            "AdversarialModel has no generator of its own",
        ),
        (["fit", "-c", QUICK, "--model.penalty", "r1"], "model.penalty: no class 'r1', did you mean 'R1'?"),
        (
            ["fit", "-c", QUICK, "--model.schedule", "CosineDecay"],
            "model.schedule needs stop: give --model.schedule.stop",
        ),
        (["test", "-c", QUICK], "test needs a checkpoint: condgen test RUN, or give --ckpt_path"),
        (["test", "nope"], "no checkpoint nope"),
        (["fit", "nope"], "fit takes options alone, got nope; --resume nope goes on with a run"),
        (["fit", "--model", "CGAN"], "data is missing"),
        (["fit", "-c", "modl/cgan.yaml"], "no config file modl/cgan.yaml, did you mean 'model/cgan.yaml'?"),
        (
            ["fit", "-c", QUICK, "--grid.columns", "100000000"],
            "grid.columns 100000000 times grid.max_rows 16 must be at most 10,000 images",
        ),
        (["fit", "-c", QUICK, "--checkpoint", "null"], "checkpoint must hold options by their names, or be a file"),
        (["fit", "-c", "."], ". is a folder, and no run's, for it has no config.yaml; give a config file or a run"),
        (["fit", "-c"], "-c needs a file"),
        (["fit", "-c", QUICK, "--include", "[x.yaml]"], "include is for configs; on the command line give -c FILE"),
        (["test", "-c", QUICK, "--ckpt_path", "nope"], "no checkpoint nope"),
        (["test", "-c", QUICK, "--ckpt_path", "http://127.0.0.1/a"], "is an address"),
        (["fit", "-c", QUICK, "--runs", "/dev/null/runs"], "cannot make the run folder"),
    ],
)
def test_mistakes_are_one_line_with_the_nearest_name(args: list[str], words: str, fails: Callable[..., str]) -> None:
    assert words in fails(*args)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"trainer": {"max_stps": 3}}, "did you mean 'trainer.max_steps'?"),
        ({"modle": {"class_path": "CGAN"}}, "no option 'modle', did you mean 'model'?"),
        ({"model": {"class_path": "condgen.models.CGANN"}}, "no class condgen.models.CGANN, did you mean 'CGAN'?"),
        ({"model": {"init_args": {"loss": "condgen.objectives.Hinje"}}}, "did you mean 'Hinge'?"),
        ({"model": {"init_args": {"generator": {"class_path": "condgen.nets.MLPGenerator",
                                                "init_args": {"hiden": [3]}}}}}, "did you mean 'hidden'?"),
        ({"model": {"init_args": {"generator_optimizer": {"class_path": "torch.optim.Adm"}}}}, "did you mean 'Adam'?"),
        ({"model": {"init_args": {"image_shape": [1, 8, 8]}}}, "comes from the data and cannot be given"),
        ({"data": {"init_args": {"batchsize": 3}}}, "did you mean 'batch_size'?"),
        ({"include": ["data/digit.yaml"]}, "no config file data/digit.yaml, did you mean 'data/digits.yaml'?"),
        ({"include": "data/digits.yaml"}, "include must be a list"),
        ({"include": ["mistake.yaml"]}, "includes itself"),
        ({"trainer": 1e308}, "trainer must hold options by their names, got 1e+308"),
        ({"checkpoint": None}, "checkpoint must hold options by their names, got None"),
        ({"model": {"init_args": {"ema_half_life": float("nan")}}}, "ema_half_life must be above 0 images"),
        (
            {"model": {"init_args": {"generator_optimizer": {"init_args": {"lr": float("nan")}}}}},
            "model.generator_optimizer: Invalid learning rate: nan",
        ),
        ({"model": {"class_path": 5}}, "model: class_path must be the path of a class, got 5"),
        (
            {"model": {"init_args": {"generator": {"class_path": "torch.nn.Linear", "init_args": {"in_features": 4}}}}},
            "model.generator cannot be torch.nn.Linear: its 'in_features' is one of the arguments that are passed",
        ),
        ("model: [", "is not YAML"),
        ("- a\n- b", "mistake.yaml must be a mapping"),
    ],
)  # fmt: skip
def test_mistakes_in_yaml_are_one_line(
    content: dict | str, words: str, fails: Callable[..., str], tmp_path: Path
) -> None:
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (tmp_path / "mistake.yaml").write_text(text)
    assert words in fails("fit", "-c", QUICK, "-c", "mistake.yaml")
    assert not (tmp_path / "runs").exists()


def test_a_near_name_is_looked_for_beside_the_file_and_no_deeper(tmp_path: Path) -> None:
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    (deeper / "mistaken.yaml").touch()
    with pytest.raises(UserError) as caught:
        find_config(str(tmp_path / "mistake.yaml"))
    assert "deeper" not in str(caught.value)
    with pytest.raises(UserError, match=r"did you mean 'mistaken.yaml'\?"):
        find_config(str(deeper / "mistake.yaml"))


def test_failures_at_work_are_one_line_and_code_1(fails: Callable[..., str], tmp_path: Path) -> None:
    line = fails("fit", "--model", "DCGAN", "--data", "MNIST", "--data.root", str(tmp_path), "--data.download", "false",
                 "--trainer.enable_progress_bar", "false", code=1)  # fmt: skip
    assert "no MNIST in" in line
    assert not any((tmp_path / "runs").iterdir())
    rates = ["--model.generator_optimizer.lr", "-1", "--trainer.enable_progress_bar", "false"]
    assert "model.generator_optimizer: Invalid learning rate: -1" in fails("fit", "-c", QUICK, *rates)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--trainer.profiler", "xla"], "trainer.profiler xla needs the package torch_xla"),
        (
            ["--trainer.precision", "transformer-engine"],
            "cannot be set up with trainer.accelerator cpu, trainer.precision transformer-engine: Requirement",
        ),
        (
            ["--trainer.callbacks", "condgen.callbacks.SampleGrid"],
            "trainer.callbacks condgen.callbacks.SampleGrid: Found more than one",
        ),
        (["--trainer.strategy", "ddp_spawn"], "trainer.strategy ddp_spawn cannot be used in this run: "),
        (
            ["--trainer.callbacks", "lightning.pytorch.callbacks.SpikeDetection"],
            "trainer.callbacks SpikeDetection cannot be used in this run: KeyError",
        ),
        (
            ["--trainer.callbacks", "lightning.pytorch.callbacks.BackboneFinetuning"],
            "trainer.callbacks BackboneFinetuning cannot be used in this run: ",
        ),
        (
            ["--trainer.callbacks", "LambdaCallback", "--trainer.callbacks.on_fit_start", "torch.nn.functional.relu"],
            "trainer.callbacks LambdaCallback cannot be used in this run: TypeError",
        ),
        (
            ["--model.generator_optimizer", "torch.optim.LBFGS"],
            "model.generator_optimizer LBFGS cannot be used in this run: ",
        ),
    ],
)
def test_what_does_not_suit_the_run_is_named_by_its_option(
    args: list[str], words: str, fails: Callable[..., str]
) -> None:
    still = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--evaluation.extractor", "null"]
    assert words in fails("fit", "-c", QUICK, *still, *args)


def test_what_fails_in_a_model_is_no_fault_of_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faulty.py").write_text(
        "from condgen.models import CGAN\n\n"
        "class Faulty(CGAN):\n"
        "    def training_step(self, batch, index):\n"
        "        raise RuntimeError('a fault')\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="a fault"):
        main(["fit", "-c", "trainer/default.yaml", "-c", "data/digits.yaml", "--model", "faulty.Faulty", "--trust",
              "faulty", "--trainer.enable_progress_bar", "false"])  # fmt: skip


@pytest.mark.slow
def test_a_killed_reader_of_data_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text(
        "import os, signal\n"
        "from multiprocessing import active_children\n"
        "import lightning as L\n\n"
        "class Killer(L.Callback):\n"
        "    def on_train_batch_start(self, *args):\n"
        "        for child in active_children()[:1]:\n"
        "            os.kill(child.pid, signal.SIGKILL)\n"
    )
    args = ["--model", "CGAN", "--data", "ImageFolder", "--data.root", str(folder), "--data.image_size", "8"]
    args += ["--data.cache_gib", "0", "--data.grey", "true", "--data.batch_size", "8", "--trainer.max_epochs", "20"]
    args += ["--trainer.callbacks", "killer.Killer", "--trust", "killer", "--evaluation.extractor", "null"]
    done = command("fit", "-c", "trainer/default.yaml", *args, "--trainer.max_steps", "200", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "condgen: a process that reads data, number" in done.stderr, done.stderr
    assert "RuntimeError" not in done.stderr


def test_a_finished_run_says_so(finished: SimpleNamespace, fails: Callable[..., str], tmp_path: Path) -> None:
    line = fails("fit", "-c", str(finished.run), "--ckpt_path", str(finished.run))
    assert "is at step 40 of 40; raise --trainer.max_steps" in line
    assert not (tmp_path / "runs").exists()


def test_the_classifier_is_tested_by_the_same_verbs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/classifier.yaml"]
    assert main(["fit", *args, "--trainer.max_steps", "60", "--trainer.val_check_interval", "30"]) == 0
    (run,) = tmp_path.glob("runs/classifier-digits/*")
    assert "val/accuracy" in (run / "metrics.csv").read_text()
    assert main(["test", "-c", str(run), "--ckpt_path", str(run)]) == 0
    assert "test accuracy 0." in capsys.readouterr().out
    assert "holds a Classifier, which does not generate images" in fails("sample", "--ckpt", str(run))


@pytest.mark.slow
def test_a_model_in_a_file_of_ones_own_is_a_model_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from condgen.models import AdversarialModel\n"
        "from condgen.nets import DCGANGenerator, MLPDiscriminator\n\n"
        "class Mixed(AdversarialModel):\n"
        "    default_generator = DCGANGenerator\n"
        "    default_discriminator = MLPDiscriminator\n"
    )

    def condgen(*args: str) -> subprocess.CompletedProcess[str]:
        script = Path(sys.executable).with_name("condgen")
        return subprocess.run([script, *args], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    fit = ["fit", "--model", "mine.Mixed", "-c", "trainer/default.yaml", "-c", "data/digits.yaml", *SHORT]
    assert condgen(*fit).stderr == "condgen: mine.Mixed is not trusted; add --trust mine\n"
    done = condgen(*fit, "--trust", "mine")
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/mixed-digits/*")
    assert "mine.Mixed is not trusted; add --trust mine" in condgen("sample", "--ckpt", str(run)).stderr
    assert condgen("sample", "--ckpt", str(run), "--trust", "mine", "--n", "2").returncode == 0
    assert (tmp_path / "samples.png").is_file()


def test_another_models_checkpoint_is_named(finished: SimpleNamespace, fails: Callable[..., str]) -> None:
    line = fails("test", "-c", QUICK, "--model.generator.hidden", "[7]", "--ckpt_path", str(finished.run))
    assert "the checkpoint does not fit the model" in line


@pytest.mark.parametrize(
    ("devices", "count"), [(1, 1), ("1", 1), ("auto", 1), (2, 2), ("2", 2), ([0, 1], 2), ("0,1", 2), ("0,", 1)]
)
def test_devices_are_counted(devices: object, count: int) -> None:
    from condgen.cli.trainer_flags import num_devices

    assert num_devices(SimpleNamespace(devices=devices, accelerator="cpu")) == count


def test_runs_never_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from condgen.cli import files

    monkeypatch.setattr(files.time, "strftime", lambda _: "stamp")
    made = [files.new_run_folder(str(tmp_path), "name").name for _ in range(3)]
    assert made == ["stamp", "stamp-2", "stamp-3"]


def test_quickstart_fails_if_the_classes_were_not_learned(tmp_path: Path) -> None:
    done = command("quickstart", *SHORT, cwd=tmp_path)
    assert done.returncode == 1
    assert "label accuracy" in done.stderr
    assert "is below 0.9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_training_that_diverges_is_one_line(fails: Callable[..., str]) -> None:
    line = fails("fit", "-c", QUICK, "--model.generator_optimizer.lr", "1e30", "--trainer.log_every_n_steps", "1",
                 "--trainer.max_steps", "30", code=1)  # fmt: skip
    assert "training stops" in line


@pytest.mark.slow
def test_two_processes_train_score_and_keep_equal_weights(finished: SimpleNamespace, tmp_path: Path) -> None:
    two = ["--trainer.devices", "2", "--trainer.accelerator", "cpu"]
    done = command("fit", "-c", QUICK, *SHORT, *two, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ddp_find_unused_parameters_true" in done.stdout
    (run,) = (tmp_path / "runs" / "quickstart").iterdir()
    import torch

    from condgen.checkpoints import read_checkpoint

    content = read_checkpoint(run)
    assert content["condgen"]["progress"]["images_seen"] == 40 * 64 * 2
    assert content["global_step"] == 40
    one = read_checkpoint(finished.run)
    assert not torch.equal(
        content["state_dict"]["generator.net.layers.0.weight"], one["state_dict"]["generator.net.layers.0.weight"]
    )
    config = ["-c", str(finished.run / "config.yaml"), "--ckpt_path", str(finished.run)]
    assert "sync_dist" not in done.stderr
    scores = []
    for name, more in (("alone", []), ("both", two)):
        cas = ["--evaluation.cas", "true", "--evaluation.n_samples", "1000"]
        done = command("test", *config, *more, *cas, "--runs", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (file,) = tmp_path.glob(f"{name}/*/*/metrics.json")
        scores.append(json.loads(file.read_text()))
    assert [s["protocol"]["processes"] for s in scores] == [1, 2]
    assert [s["protocol"]["n_real"] for s in scores] == [360, 360]
    for name, row in scores[0]["scores"].items():
        close = {"abs": 0.05} if name == "cas" else {"rel": 1e-5}  # what a net learns depends on the threads
        assert row["value"] == pytest.approx(scores[1]["scores"][name]["value"], **close)
        if name != "memorisation":
            assert row["floor"] == pytest.approx(scores[1]["scores"][name]["floor"], **close)
    assert scores[1]["scores"]["cas"]["floor"]["mean"] > 0.8


@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(finished: SimpleNamespace, tmp_path: Path) -> None:
    """Through the command line: 20 batches, then on to 40 in a new folder."""
    import torch

    from condgen.checkpoints import read_checkpoint

    done = command("fit", "-c", QUICK, *SHORT, "--trainer.max_steps", "20", "--runs", "half", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (half,) = tmp_path.glob("half/*/*")
    done = command("fit", "-c", QUICK, *SHORT, "--ckpt_path", str(half), "--runs", "rest", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (rest,) = tmp_path.glob("rest/*/*")
    resumed, whole = read_checkpoint(rest), read_checkpoint(finished.run)
    assert resumed["condgen"] == whole["condgen"]
    assert all(torch.equal(whole["state_dict"][key], value) for key, value in resumed["state_dict"].items())


def test_an_accumulated_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under automatic optimisation `max_steps` counts optimizer steps, of two batches each here."""
    import torch

    from condgen.checkpoints import read_checkpoint

    monkeypatch.chdir(tmp_path)
    configs = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/mlp_vae.yaml"]
    more = [
        "--trainer.accumulate_grad_batches",
        "2",
        "--trainer.limit_val_batches",
        "0",
        "--trainer.accelerator",
        "cpu",
    ]
    assert main(["fit", *configs, *more, "--trainer.max_steps", "3", "--runs", "half"]) == 0
    (half,) = tmp_path.glob("half/*/*")
    assert main(["fit", "-c", str(half), "--ckpt_path", str(half), "--trainer.max_steps", "5", "--runs", "rest"]) == 0
    assert main(["fit", *configs, *more, "--trainer.max_steps", "5", "--runs", "whole"]) == 0
    rest, whole = (read_checkpoint(next(tmp_path.glob(f"{name}/*/*"))) for name in ("rest", "whole"))
    assert rest["condgen"] == whole["condgen"]
    assert rest["condgen"]["progress"]["batches_seen"] == 10
    assert all(torch.equal(whole["state_dict"][key], value) for key, value in rest["state_dict"].items())
