"""Models to share: safetensors that every verb reads, in the layout of the hub's mixin."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from conftest import same_weights
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from condgen.checkpoints import CheckpointError, load_model, read_checkpoint
from condgen.checkpoints.export import card_of, write_export
from condgen.cli import main
from condgen.data import Digits
from condgen.models import DDPM, VAE, GenerativeModel
from condgen.models.plain import from_plain
from condgen.models.weights_hash import weights_hash
from condgen.nets import UNet
from condgen.processes import DDIM

QUICK = ["-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/cgan.yaml"]
SHORT = ["--trainer.max_steps", "20", "--trainer.val_check_interval", "20", "--evaluation.n_samples", "100",
         "--evaluation.subset_size", "60", "--trainer.accelerator", "cpu"]  # fmt: skip
Fails = Callable[..., str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A tested run, and the folder and the file that it was exported to."""
    home = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(["fit", *QUICK, *SHORT]) == 0
        (run,) = home.glob("runs/*/*")
        assert main(["test", "-c", str(run), "--ckpt_path", str(run)]) == 0
        assert main(["export", str(run), "shared"]) == 0
        assert main(["export", str(run / "checkpoints" / "last.ckpt"), "one.safetensors"]) == 0
    return SimpleNamespace(home=home, run=run, folder=home / "shared", file=home / "one.safetensors")


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    def run(*args: object, code: int = 2) -> str:
        assert main([str(arg) for arg in args]) == code
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    return run


def images(model: GenerativeModel) -> torch.Tensor:
    return model.sample({"label": torch.arange(10)}, seeds=torch.arange(10))


def test_an_export_samples_as_its_run_does(made: SimpleNamespace) -> None:
    model = load_model(made.run)
    for path in (made.folder, made.folder / "model.safetensors", made.file):
        loaded = load_model(path)
        assert torch.equal(images(loaded), images(model))
        assert loaded.averaged
        assert weights_hash(loaded) == weights_hash(model)
        assert loaded.progress() == model.progress()
        assert loaded.init_args == model.init_args
    assert made.file.stat().st_size < (made.run / "checkpoints" / "last.ckpt").stat().st_size / 3


def test_the_folder_has_the_layout_of_the_hubs_mixin(made: SimpleNamespace) -> None:
    """A class that knows nothing of condgen's reading reads it by `from_pretrained`."""
    hub = pytest.importorskip("huggingface_hub")

    class Shared(nn.Module, hub.PyTorchModelHubMixin):
        def __init__(self, class_path: str, init_args: dict[str, Any], sampler: dict[str, Any]) -> None:
            super().__init__()
            import condgen.models

            self.model = [getattr(condgen.models, class_path.rpartition(".")[2])(**from_plain(init_args, ()))]
            for name, part in self.model[0].sampling_net.named_children():
                self.add_module(name, part)

    assert {path.name for path in made.folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
        "samples.png",
    }
    (model,) = Shared.from_pretrained(made.folder).model
    assert torch.equal(images(model), images(load_model(made.run)))
    again = hub.ModelCard.load(made.folder / "README.md")
    assert again.data.library_name == "condgen"
    assert again.data.tags == ["condgen", "image-generation", "cgan"]


def test_the_card_has_the_protocol_and_a_grid(made: SimpleNamespace) -> None:
    text = (made.folder / "README.md").read_text()
    (metrics,) = made.home.glob("runs/*/*-test/metrics.json")
    result = json.loads(metrics.read_text())
    for name in result["scores"]:
        assert f"| {name} (" in text
    assert f"{result['scores']['label_accuracy']['value']:.4f}" in text
    for line in ("| data | Digits |", "| n_samples | 100 |", "| extractor.name | digits |", "| split | test |"):
        assert line in text
    assert str(made.home) not in text
    assert "checkpoint |" not in text
    with Image.open(made.folder / "samples.png") as picture:
        assert picture.size == (8 * 50 + 2, 10 * 50 + 2)
    config = json.loads((made.folder / "config.json").read_text())
    assert config["class_path"] == "condgen.models.CGAN"
    assert config["init_args"]["cond_spec"] == {"label": {"names": [str(digit) for digit in range(10)]}}
    with safe_open(made.folder / "model.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["condgen"]) == config


def test_without_scores_the_card_says_so(made: SimpleNamespace, tmp_path: Path) -> None:
    alone = tmp_path / "alone.ckpt"
    alone.write_bytes((made.run / "checkpoints" / "last.ckpt").read_bytes())
    assert main(["export", str(alone), str(tmp_path / "out")]) == 0
    assert "No scores" in (tmp_path / "out" / "README.md").read_text()
    assert main(["export", str(tmp_path / "out"), str(tmp_path / "again.safetensors")]) == 0
    assert torch.equal(images(load_model(tmp_path / "again.safetensors")), images(load_model(made.run)))


def test_every_verb_reads_it(
    made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    shared = str(made.folder)
    assert main(["info", shared]) == 0
    assert "label        10 classes" in capsys.readouterr().out
    for name, path in (("a", shared), ("b", str(made.run))):
        assert main(["sample", "--ckpt", path, "--label", "3", "--n", "4", "--out", f"{name}.png"]) == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert main(["interpolate", "--ckpt", shared, "--label", "3,7", "--frames", "3"]) == 0
    scores = []
    for name, path in (("c", shared), ("d", str(made.file)), ("e", str(made.run))):
        args = ["evaluate", "data/digits.yaml", path, "--extractor", "digits", "--n", "100", "--subset-size", "50"]
        assert main([*args, "--out", name]) == 0
        scores.append(json.loads(Path(name, "metrics.json").read_text()))
    assert scores[0]["scores"] == scores[1]["scores"] == scores[2]["scores"]
    assert scores[0]["cost"]["training_seconds"] == scores[2]["cost"]["training_seconds"]
    for verb in ("test", "validate", "predict"):
        assert main([verb, "-c", str(made.run), "--ckpt_path", shared, "--runs", verb]) == 0
    (found,) = Path("test").glob("*/*/metrics.json")
    (expected,) = made.home.glob("runs/*/*-test/metrics.json")
    result, known = json.loads(found.read_text()), json.loads(expected.read_text())
    assert result["scores"] == known["scores"]
    assert result["protocol"]["checkpoint"] == f"{shared}/model.safetensors"
    assert result["protocol"]["weights_sha256"] == known["protocol"]["weights_sha256"]
    assert "checkpoint: " in (found.parent / "config.yaml").read_text()


def test_what_it_does_not_hold_is_said(made: SimpleNamespace, fails: Fails, tmp_path: Path) -> None:
    shared = str(made.folder)
    assert "holds what sampling needs alone; train on" in fails("fit", "-c", made.run, "--ckpt_path", shared)
    raw = "raw weights are not there: an exported model has the averaged ones alone"
    assert raw in fails("sample", "--ckpt", shared, "--raw")
    assert raw in fails("evaluate", "data/digits.yaml", shared, "--extractor", "digits", "--raw", "--n", "9")
    assert raw in fails("test", "-c", made.run, "--ckpt_path", shared, "--evaluation.raw", "true", "--runs", tmp_path,
                        code=1)  # fmt: skip
    assert "does not fit the model" in fails(
        "test", "-c", made.run, "--ckpt_path", shared, "--model.generator.hidden", "[8]", "--runs", tmp_path
    )
    assert "shared is there already" in fails("export", made.run, shared)
    assert "cannot be written" in fails("export", made.run, "/dev/null/x.safetensors")
    assert "is an address" in fails("export", "https://127.0.0.1/x", "out")


@pytest.mark.parametrize("half_life", [None, 100.0])
@pytest.mark.parametrize("family", [DDPM, VAE])
def test_other_families_and_raw_weights(
    family: type[GenerativeModel], half_life: float | None, make_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    data = Digits()
    few = {"net": partial(UNet, width=8, attention=None), "num_steps": 10, "sampler": DDIM(3)} if family is DDPM else {}
    kwargs: dict[str, Any] = {"ema_half_life": half_life, **few}
    model = family(data.image_shape, data.cond_spec, **kwargs)
    make_trainer(max_steps=2).fit(model, data)
    write_export(model, card_of(model, f"condgen.models.{family.__name__}", None), tmp_path / "x.safetensors")
    loaded = load_model(tmp_path / "x.safetensors")
    assert torch.equal(images(loaded), images(model))
    assert loaded.averaged == (half_life is not None)
    assert loaded.sampler == model.sampler
    assert same_weights(loaded.trained_net, model.sampling_net)


def test_it_can_be_trained_further(made: SimpleNamespace, make_trainer: Callable[..., L.Trainer]) -> None:
    model = load_model(made.folder)
    with pytest.raises(ValueError, match="raw weights are not there"):
        model.raw = True
    with model.drafting():
        assert model.raw
    make_trainer(max_steps=2).fit(model.train(), Digits())
    model.raw = True
    assert not model.averaged


# ---------------------------------------------------------------------- files that are not as they were


def rewritten(
    made: SimpleNamespace, path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], Any]
) -> Path:
    with safe_open(made.file, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, metadata)
    save_file(tensors, path, metadata=metadata)
    return path


def test_changed_files_are_refused(made: SimpleNamespace, tmp_path: Path) -> None:
    def weight(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        next(iter(tensors.values())).view(-1)[0] += 1

    def header(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        metadata["condgen"] = metadata["condgen"].replace('"chunk": 64', '"chunk": 65')

    def name(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        tensors["other"] = tensors.pop(next(iter(tensors)))

    def none(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        metadata.clear()
        metadata["format"] = "pt"

    for change, words in (
        (weight, "is not as it was written"),
        (header, "is not as it was written"),
        (name, "is not as it was written"),
        (none, "was not written by condgen export"),
    ):
        with pytest.raises(CheckpointError, match=words):
            load_model(rewritten(made, tmp_path / "x.safetensors", change))
    whole = made.file.read_bytes()
    for content in (b"", whole[:7], whole[: len(whole) // 2], whole + b"x", struct.pack("<Q", 1 << 60) + whole[8:]):
        (tmp_path / "y.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match="is no safetensors file, or is damaged"):
            load_model(tmp_path / "y.safetensors")


def test_other_files_and_folders_are_named(made: SimpleNamespace, tmp_path: Path) -> None:
    from condgen.metrics.extractors import WEIGHTS

    with pytest.raises(CheckpointError, match="is a classifier, which generates no images"):
        load_model(WEIGHTS / "digits.safetensors")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(made.file.read_bytes())
    assert read_checkpoint(folder)["condgen"]["averaged"]
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"config.json is not what model.safetensors says"):
        load_model(folder)


def test_class_paths_of_an_export_are_not_imported(made: SimpleNamespace, tmp_path: Path) -> None:
    from condgen.checkpoints.export import content_hash

    def hostile(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        card = json.loads(metadata["condgen"])
        card["init_args"]["generator"] = {"class_path": "os.mkdir", "init_args": {"path": str(tmp_path / "proof")}}
        metadata["condgen"] = json.dumps(card)
        metadata["sha256"] = content_hash(metadata["condgen"], tensors)

    with pytest.raises(CheckpointError, match=r"os.mkdir is Python's own"):
        load_model(rewritten(made, tmp_path / "x.safetensors", hostile))
    assert not (tmp_path / "proof").exists()
    assert yaml.safe_load((made.run / "config.yaml").read_text())["model"]["class_path"] == "condgen.models.CGAN"
