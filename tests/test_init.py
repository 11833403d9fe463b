"""`condgen init` writes an experiment that trains, and changes nothing that is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from conftest import REPO
from evaluate_inputs import Fails

from condgen.cli import VERBS, main
from condgen.cli.includes import with_includes
from condgen.pictures import save_png

ONE_BATCH = ["--trainer.max_steps", "1", "--trainer.accelerator", "cpu", "--data.batch_size", "8"]
FILES = {"README.md", "classifier.yaml", "data.yaml", "train.yaml"}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_trains_once_images_are_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "my pets"]) == 0
    assert "next: put images into my pets/images/<class>, then condgen fit -c 'my pets/train.yaml'" in (
        capsys.readouterr().out
    )
    assert {path.name for path in Path("my pets").iterdir()} == FILES | {"images"}
    Path("my pets/images").rmdir()
    Path("my pets/images").symlink_to(folder)
    assert main(["fit", "-c", "my pets/train.yaml", *ONE_BATCH]) == 0
    (run,) = Path("runs/my pets").iterdir()
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert main(["fit", "-c", "my pets/classifier.yaml", *ONE_BATCH]) == 0
    (classifier,) = Path("runs/my pets-classifier").iterdir()
    by = ["--evaluation.extractor", "condgen.metrics.ClassifierExtractor"]
    by += ["--evaluation.extractor.path", str(classifier / "classifier.safetensors")]
    assert main(["test", "-c", str(run), "--ckpt_path", str(run), *by, "--evaluation.n_samples", "20"]) == 0
    assert list(Path("runs/my pets").glob("*-test/metrics.json"))


def test_no_images_yet_is_one_line(fails: Fails) -> None:
    assert main(["init", "pets"]) == 0
    fails.capsys.readouterr()
    assert "pets/images holds no files" in fails("fit", "-c", "pets/train.yaml")


def test_images_may_stay_where_they_are(folder: Path) -> None:
    assert main(["init", "pets", "--images", str(folder)]) == 0
    assert {path.name for path in Path("pets").iterdir()} == FILES
    assert main(["data", "show", "pets/data.yaml", "--n", "2"]) == 0


def test_images_without_classes_have_no_condition(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, image in enumerate(torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8)):
        save_png(image, tmp_path / "flat" / f"{place}.png")
    assert main(["init", "pets", "--images", str(tmp_path / "flat")]) == 0
    assert {path.name for path in Path("pets").iterdir()} == FILES - {"classifier.yaml"}
    assert "classifier.yaml" not in Path("pets/README.md").read_text()
    assert main(["fit", "-c", "pets/train.yaml", *ONE_BATCH]) == 0
    (run,) = Path("runs/pets").iterdir()
    assert capsys.readouterr().out.splitlines()[-1] == f"next: condgen sample --ckpt {run}"
    assert main(["info", str(run)]) == 0
    assert "conditions   none" in capsys.readouterr().out
    ddpm = next(line for line in Path("pets/README.md").read_text().splitlines() if "model/ddpm.yaml --" in line)
    assert main([*shlex.split(ddpm)[1:], *ONE_BATCH, "--model.net.width", "8"]) == 0
    assert Path("runs/pets-ddpm").is_dir()


def test_nothing_is_overwritten(fails: Fails) -> None:
    Path("pets/images").mkdir(parents=True)
    Path("pets/train.yaml").write_text("mine")
    assert "pets/train.yaml is there already" in fails("init", "pets")
    assert {path.name for path in Path("pets").iterdir()} == {"images", "train.yaml"}
    assert Path("pets/train.yaml").read_text() == "mine"


def test_missing_images_and_a_file_in_the_way_are_named(fails: Fails) -> None:
    assert "no folder or archive nowhere" in fails("init", "pets", "--images", "nowhere")
    Path("file").write_text("")
    assert "cannot write file/pets" in fails("init", "file/pets", code=1)


def test_the_readme_names_what_there_is() -> None:
    assert main(["init", "pets"]) == 0
    text = Path("pets/README.md").read_text()
    for line in re.findall(r"^ +condgen (.*)$", text, re.MULTILINE):
        assert shlex.split(line)[0] in VERBS
    for name in re.findall(r"pets/\w+\.yaml", text):
        assert with_includes(Path(name))
    for name in re.findall(r"-c (model/\w+\.yaml)", text):
        assert (REPO / "configs" / name).is_file()
