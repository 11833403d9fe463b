"""Every YAML trains, scores, saves and samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from conftest import REPO, mnist_root

from condgen.cli import main
from condgen.cli.data_config import data_module
from condgen.cli.includes import with_includes

CONFIGS = REPO / "configs"
TWO_BATCHES = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--trainer.limit_val_batches", "1",
               "--evaluation.n_samples", "80", "--evaluation.subset_size", "60"]  # fmt: skip
OTHERS = ("classifier", "segmenter", "tagger", "pix2pix")  # the last is tried in test_pix2pix.py, on pairs
GENERATIVE = sorted(p for p in CONFIGS.glob("model/*.yaml") if p.stem not in OTHERS)

CONDITIONS = sorted(
    path for path in CONFIGS.glob("condition/*.yaml") if path.stem not in ("style", "inpainting", "frozen_text")
)
SMALL_SHAPES = ["-c", "trainer/default.yaml", "-c", "data/shapes.yaml", "--trainer.accelerator", "cpu",
                "--trainer.max_steps", "1", "--data.image_size", "16", "--data.batch_size", "8", "--data.n_train", "8",
                "--data.n_validation", "8", "--data.n_test", "8",
                "--data.conditions", "[label, attributes, text, mask, source, low_res]"]  # fmt: skip
SMALL_UNET = ["--model.net.width", "8", "--model.net.attention", "[8]", "--model.sampler.steps", "2"]


def only_run(folder: Path) -> Path:
    (run,) = folder.glob("runs/*/*")
    return run


@pytest.mark.parametrize("path", GENERATIVE, ids=lambda p: p.stem)
def test_every_model_trains_scores_and_samples(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", str(path), "--trainer.accelerator", "cpu"]
    assert main(["fit", *args, *TWO_BATCHES]) == 0
    run = only_run(tmp_path)
    assert "val/fd_digits" in (run / "metrics.csv").read_text()
    assert main(["sample", "--ckpt", str(run), "--n", "2", "--out", "grid.png"]) == 0
    test = ["test", "-c", str(run / "config.yaml"), "--ckpt_path", str(run), "--runs", "tests"]
    assert main(test) == 0
    assert list(tmp_path.glob("tests/*/*/metrics.json"))


def test_the_classifier_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/classifier.yaml"]
    assert main(["fit", *args, *TWO_BATCHES, "--trainer.accelerator", "cpu"]) == 0
    assert (only_run(tmp_path) / "checkpoints" / "last.ckpt").is_file()


def test_the_segmenter_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["-c", "model/segmenter.yaml", "--data.conditions", "[mask]", "--trainer.val_check_interval", "1"]
    assert main(["fit", *SMALL_SHAPES, *args]) == 0
    run = only_run(tmp_path)
    assert (run / "segmenter.safetensors").is_file()
    assert "val/mean_iou" in (run / "metrics.csv").read_text()
    assert main(["test", "-c", str(run), "--ckpt_path", str(run), "--runs", "tests"]) == 0


def test_the_tagger_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["-c", "model/tagger.yaml", "--data.conditions", "[text]", "--trainer.val_check_interval", "1"]
    assert main(["fit", *SMALL_SHAPES, *args]) == 0
    run = only_run(tmp_path)
    assert (run / "tagger.safetensors").is_file()
    assert "val/caption_bits" in (run / "metrics.csv").read_text()


@pytest.mark.parametrize("path", CONDITIONS, ids=lambda p: p.stem)
def test_every_condition_trains_a_diffusion_model(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *SMALL_SHAPES, "-c", "model/ddpm.yaml", "-c", str(path), *SMALL_UNET]) == 0
    run = only_run(tmp_path)
    assert (run / "checkpoints" / "last.ckpt").is_file()
    encoder = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["encoder"]
    own = yaml.safe_load(path.read_text())["model"]["init_args"]["encoder"]
    assert encoder["class_path"] == (own if isinstance(own, str) else own["class_path"])


@pytest.mark.parametrize("model", ["cgan", "dcgan", "vae", "mlp_vae"])
def test_a_condition_goes_with_other_models(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["-c", f"model/{model}.yaml", "-c", "condition/text.yaml", "-c", "condition/text_and_mask.yaml"]
    assert main(["fit", *SMALL_SHAPES, *args]) == 0
    encoder = yaml.safe_load((only_run(tmp_path) / "config.yaml").read_text())["model"]["init_args"]["encoder"]
    assert [part["class_path"].rpartition(".")[2] for part in encoder["init_args"]["encoders"]] == [
        "TextEncoder",
        "MaskEncoder",
    ]


def test_conditions_that_the_data_lacks_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, key in (("style", "style"), ("inpainting", "known"), ("frozen_text", "text")):
        options = ["--data.conditions", "[source]"] if key != "text" else ["--data.conditions", "[label]"]
        args = ["-c", "model/vae.yaml", "-c", f"condition/{name}.yaml", *options]
        assert main(["fit", *SMALL_SHAPES, *args]) != 0
        (line,) = capsys.readouterr().err.splitlines()
        assert f"needs the condition '{key}'; the data offers" in line


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("data/*.yaml")), ids=lambda p: p.stem)
def test_every_data_set_is_built_without_its_files(path: Path) -> None:
    assert data_module(f"data/{path.name}", ["--data.batch_size", "3"]).batch_size == 3


def test_mnist_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = mnist_root()
    monkeypatch.chdir(tmp_path)
    args = ["-c", "trainer/default.yaml", "-c", "data/mnist.yaml", "-c", "model/dcgan.yaml", "--data.root", str(root)]
    assert main(["fit", *args, *TWO_BATCHES, "--data.download", "false"]) == 0
    assert "val/fd_mnist" in (only_run(tmp_path) / "metrics.csv").read_text()


def test_wandb_runs_offline_beside_the_csv_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    args = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml", "-c", "logger/wandb.yaml"]
    assert main(["fit", *args, *TWO_BATCHES, "--trainer.accelerator", "cpu"]) == 0
    import wandb

    wandb.finish()
    (run,) = tmp_path.glob("runs/cgan-digits/*")
    assert (run / "metrics.csv").is_file()
    assert list(tmp_path.glob("runs/wandb/offline-run-*/run-*.wandb"))
    assert list(tmp_path.glob("runs/wandb/offline-run-*/files/media/images/*.png"))


def test_every_experiment_composes_shipped_configs() -> None:
    for path in REPO.glob("experiments/*/*.yaml"):
        *included, own = with_includes(path)
        assert own == path
        assert all(CONFIGS in file.parents for file in included)
