"""What differs on a GPU: devices of conditions, loss scaling, grids and scores while a model trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from condgen.cli import main

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")

SHAPES = ["-c", "data/shapes.yaml", "--data.image_size", "16", "--data.batch_size", "16", "--data.n_train", "64",
          "--data.n_validation", "16", "--data.n_test", "16", "--data.conditions"]  # fmt: skip
GAN = ["-c", "model/dcgan.yaml", "--model.generator.width", "8", "--model.discriminator.width", "8",
       "--model.classifier_weight", "0"]  # fmt: skip
DDPM = ["-c", "model/ddpm.yaml", "--model.net.width", "8", "--model.sampler.steps", "2"]
CASES = {
    "digits": ["-c", "data/digits.yaml", "-c", "model/cgan.yaml"],
    "text": [*SHAPES, "[text]", *DDPM, "-c", "condition/text_tokens.yaml"],
    "attributes": [*SHAPES, "[attributes]", *GAN, "-c", "condition/attributes.yaml"],
    "mask": [*SHAPES, "[mask]", *GAN, "-c", "condition/mask.yaml", "--model.discriminator.projection", "false"],
    "vae": ["-c", "data/digits.yaml", "-c", "model/vae.yaml", "--likelihood.n_images", "20"],
    "tagger": [*SHAPES, "[text]", "-c", "model/tagger.yaml", "--model.net.widths", "[8,16]"],
}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("case", CASES)
def test_a_run_and_its_scores(case: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["--evaluation.n_samples", "40", "--evaluation.subset_size", "20", "--grid.columns", "2"]
    args = [*CASES[case], *([] if case == "tagger" else few), "--trainer.accelerator", "gpu"]
    assert main(["fit", "-c", "trainer/default.yaml", *args, "--trainer.precision", precision,
                 "--trainer.max_steps", "6", "--name", "gpu"]) == 0  # fmt: skip
    (run,) = tmp_path.glob("runs/gpu/*")
    assert case == "tagger" or list(run.glob("samples/*.png"))
    assert main(["test", "-c", str(run), "--ckpt_path", str(run), "--runs", "tests"]) == 0
    if case == "digits":
        (scores,) = tmp_path.glob("tests/*/*/metrics.json")
        assert "label_accuracy" in json.loads(scores.read_text())["scores"]
