"""`condgen evaluate` of runs that are asked for more than classes: the conditions are those of a split of data."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from evaluate_inputs import Fails

from condgen.callbacks import EvaluateSamples
from condgen.checkpoints import DrawnImages
from condgen.cli import main
from condgen.conditions import AttributesEncoder, EncoderFactory, MaskEncoder, SourceEncoder, TextEncoder
from condgen.data import Shapes, SplitImages
from condgen.metrics import ModuleExtractor, Obedience, PairedError, ShapesFacts, ShapesMask, evaluate
from condgen.models import DCGAN
from condgen.nets import DCGANDiscriminator, DCGANGenerator

N = 70
SIZES: dict[str, Any] = {"n_train": 90, "n_validation": 20, "n_test": 40, "image_size": 16, "batch_size": 16}
CASES: dict[str, tuple[EncoderFactory, Obedience]] = {
    "text": (partial(TextEncoder, width=8, depth=1, heads=2), ShapesFacts()),
    "attributes": (AttributesEncoder, ShapesFacts()),
    "mask": (MaskEncoder, ShapesMask()),
    "source": (SourceEncoder, PairedError()),
}
MEAN = {"module": torch.nn.AdaptiveAvgPool2d((1, 1)), "name": "mean", "image_shape": (3, 16, 16)}


def data_of(key: str, **settings: Any) -> tuple[Shapes, dict[str, Any]]:
    """The data, and its config."""
    init_args = SIZES | {"conditions": [key]} | settings
    return Shapes(**init_args), {"data": {"class_path": "condgen.data.Shapes", "init_args": init_args}}


def train(key: str, trainer: L.Trainer, run: Path) -> DCGAN:
    """Leave what a run leaves: a checkpoint, and a config."""
    data, config = data_of(key)
    nets = {"generator": partial(DCGANGenerator, latent_dim=8, width=4), "discriminator": DCGANDiscriminator}
    model = DCGAN(data.image_shape, data.cond_spec, encoder=CASES[key][0], sample_chunk=16, **nets)
    trainer.fit(model, data)
    trainer.save_checkpoint(run / "checkpoints" / "last.ckpt")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return model


@pytest.fixture
def text_run(make_trainer: Callable[..., L.Trainer], tmp_path: Path) -> Path:
    train("text", make_trainer(max_steps=1), tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("key", CASES)
def test_a_run_scores_as_condgen_test_does(key: str, make_trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    run, metric, data = tmp_path / "run", CASES[key][1], data_of(key)[0]
    model = train(key, make_trainer(max_steps=2), run)
    callback = EvaluateSamples(ModuleExtractor(**MEAN), [metric], n_samples=N, subset_size=20, first_seed=3)
    make_trainer(callbacks=[callback]).test(model, data, verbose=False)
    assert callback.result is not None
    settings = {"class_path": "torch.nn.AdaptiveAvgPool2d", "init_args": {"output_size": [1, 1]}}
    content = MEAN | {"module": settings, "image_shape": [3, 16, 16]}
    (tmp_path / "mean.yaml").write_text(
        yaml.safe_dump({"class_path": "condgen.metrics.ModuleExtractor", "init_args": content})
    )
    options = ["--extractor", tmp_path / "mean.yaml", "--obedience", f"[{type(metric).__name__}]", "--subset-size", 20]
    config = run / "config.yaml"
    args = [config, run, "--train", config, *options, "--n", N, "--seed", 3, "--out", tmp_path / "out"]
    assert main(["evaluate", *map(str, args)]) == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert result["scores"] == callback.result["scores"]
    assert ("floor" in next(iter(reversed(result["scores"].values())))) == (key != "source")
    given = ("conditions", "classes", "obedience", "seeds", "n_real", "n_samples", "weights_sha256", "data_fingerprint")
    assert {k: result["protocol"][k] for k in given} == {k: callback.result["protocol"][k] for k in given}
    of = {"data": "Shapes", "split": "test", "fingerprint": data.fingerprint("test")}
    assert result["protocol"]["conditions_of"] == of


def test_conditions_are_those_of_the_real_images_where_they_have_them(text_run: Path) -> None:
    def drawn(*real: str) -> DrawnImages:
        from condgen.cli.evaluate import open_source, parser

        options = parser().parse_args([*real[:1], str(text_run), "--extractor", "x", "--n", "12"])
        side = open_source(real[0], options, list(real[1:]))
        source = open_source(str(text_run), options, [], side)
        assert isinstance(source, DrawnImages)
        return source

    own = data_of("text")[0]
    shapes = ["data/shapes.yaml", *(f"--data.{key}={value}" for key, value in SIZES.items())]
    theirs = drawn(*shapes, "--data.conditions=[text,label]", "--data.seed=5")
    assert theirs.asked_of is not None
    assert theirs.asked_of.fingerprint not in (own.fingerprint("test"), None)
    assert theirs.class_names == theirs.asked_of.module.cond_spec["label"]["names"]
    assert theirs.images.cond.keys() == {"label", "text"}
    larger = [*shapes, "--data.conditions=[text]", "--data.image_size=32"]
    for others in (["data/digits.yaml"], larger):
        found = drawn(*others)
        assert found.asked_of is not None
        assert found.asked_of.fingerprint == own.fingerprint("test")
        assert found.target is None
        rows = {bytes(row.tolist()) for row in own.images("test").all().cond["text"]}
        assert {bytes(row.tolist()) for row in found.images.cond["text"]} <= rows
        assert found.target is not None


def test_obedience_needs_no_extractor(text_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["evaluate", "data/digits.yaml", str(text_run), "--obedience", "[ShapesFacts]", "--n", "20"]
    assert main([*args, "--split", "validation", "--out", str(tmp_path / "out")]) == 0
    assert f"20imagesof{text_run}" in "".join(capsys.readouterr().out.split())  # a long line is broken
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {"shape", "colour", "all_facts"} <= result["scores"].keys()
    assert result["scores"]["shape"]["floor"]["mean"] == 1.0
    assert "n_real" not in result["protocol"]
    assert result["protocol"]["conditions_of"]["split"] == "validation"
    assert result["protocol"]["obedience"] == ["ShapesFacts"]


def test_what_no_data_tells_is_said(text_run: Path, fails: Fails, tmp_path: Path) -> None:
    obey = ["--obedience", "[ShapesFacts]"]
    config = text_run / "config.yaml"
    card = yaml.safe_load(config.read_text())
    card["data"]["class_path"] = "os.system"
    config.write_text(yaml.safe_dump(card))
    line = fails("evaluate", "data/digits.yaml", text_run, *obey)
    assert line == f"condgen: {config}: os.system is Python's own, which no config or checkpoint may name"
    for named in ("[os.system]", "[{class_path: subprocess.Popen, init_args: {args: [x]}}]"):
        line = fails("evaluate", "data/digits.yaml", text_run, "--obedience", named)
        assert line.endswith("is Python's own, which no config or checkpoint may name")
    assert main(["export", str(text_run), str(tmp_path / "shared")]) == 0
    line = fails("evaluate", "data/digits.yaml", tmp_path / "shared", *obey)
    assert "is asked for text, and it has no config.yaml that says of which data; give REAL as a" in line
    config.unlink()
    line = fails("evaluate", "data/digits.yaml", text_run, *obey)
    assert f"{text_run} is asked for text, and there is no {config} that says of which data; give REAL as a" in line
    with pytest.raises(ValueError, match="is asked for text: give the split that has them as conditions"):
        DrawnImages(text_run, 4)
    data = data_of("text")[0]
    drawn = DrawnImages(text_run, 12, conditions=lambda _: SplitImages(data, "test"))
    with pytest.raises(ValueError, match="ShapesMask compares with 'mask'; samples are asked for text"):
        evaluate(SplitImages(data, "test"), drawn, None, obedience=[ShapesMask()])


def test_samples_are_drawn_in_whole_chunks(text_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, generated = data_of("text")[0], []
    drawn = DrawnImages(text_run, 1100, conditions=lambda _: SplitImages(data, "test"))
    drawn.model.sample_chunk = 48
    generate = drawn.model.generate
    monkeypatch.setattr(drawn.model, "generate", lambda *args: generated.append(len(args[0])) or generate(*args))
    assert len(drawn.images) == 1100
    assert generated == [48] * 23  # 1,100 by 48, the last chunk filled up alone
