"""The losses of each model's first hundred batches, kept in `curves`.

`make curves`, or `python tests/loss_curves.py [NAME ...]`, writes them anew, which is due when a change is meant to
alter how models learn, and in no other case. Losses are equal to the digit only where the kernels are, so a file says
for which processor, threads and torch they hold; elsewhere the first ten batches in float64 are compared, in which
rounding stays far below what a mistake does.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from condgen.callbacks.run_log import read_rows
from condgen.cli import main

FOLDER = Path(__file__).parent / "curves"
BATCHES, BATCHES_64 = 100, 10
THREADS = 1
COMMON = [
    "fit", "-c", "trainer/default.yaml", "--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1",
    "--trainer.enable_progress_bar", "false", "--trainer.limit_val_batches", "0", "--evaluation.extractor", "null",
    "--grid.every_n_images", "1000000", "--seed_everything", "0",
    "--trainer.precision", "32-true",
]  # fmt: skip
DIGITS = ["-c", "data/digits.yaml", "--data.batch_size", "32"]
SHAPES = [
    "-c", "data/shapes.yaml", "--data.image_size", "16", "--data.batch_size", "16", "--data.n_train", "400",
    "--data.n_validation", "16", "--data.n_test", "16", "--data.conditions",
]  # fmt: skip
GAN = ["--model.generator.width", "8", "--model.discriminator.width", "8"]
GENERATOR = ["--model.generator", "condgen.nets.DCGANGenerator"]
DISCRIMINATOR = ["--model.discriminator", "condgen.nets.DCGANDiscriminator"]
VAE = ["--model.inference.width", "8", "--model.decoder.width", "8"]
MODELS = {
    "cgan": [*DIGITS, "-c", "model/cgan.yaml"],
    "dcgan": [*DIGITS, "-c", "model/dcgan.yaml", *GAN],
    "resnet_gan": [*DIGITS, "-c", "model/resnet_gan.yaml", *GAN],
    "acgan": [*DIGITS, "-c", "model/acgan.yaml", *GENERATOR, *DISCRIMINATOR, *GAN],
    "wgan_gp": [*DIGITS, "-c", "model/wgan_gp.yaml", *GENERATOR, *GAN],
    "pix2pix": [*SHAPES, "[source]", "-c", "model/pix2pix.yaml", *GAN],
    "vae": [*DIGITS, "-c", "model/vae.yaml", *VAE],
    "mlp_vae": [*DIGITS, "-c", "model/mlp_vae.yaml"],
    "beta_vae": [*DIGITS, "-c", "model/beta_vae.yaml", *VAE],
    "ddpm": [*DIGITS, "-c", "model/ddpm.yaml", "--model.net.width", "8"],
    "classifier": [*DIGITS, "-c", "model/classifier.yaml", "--model.net.widths", "[8,16]"],
    "segmenter": [*SHAPES, "[mask]", "-c", "model/segmenter.yaml", "--model.net.widths", "[8,16]"],
    "tagger": [*SHAPES, "[text]", "-c", "model/tagger.yaml", "--model.net.widths", "[8,16]"],
}

Curves = dict[str, list[float]]


def stack() -> dict[str, Any]:
    """Return what digits depend on."""
    capability = f"{torch.backends.cpu.get_cpu_capability()} of {processor()}"
    return {"cpu": capability, "threads": THREADS, "torch": str(torch.__version__)}


def processor() -> str:
    """Name the processor's vendor, family and model, which kernels are chosen by; empty where Linux does not tell."""
    info = Path("/proc/cpuinfo")
    lines = dict(
        re.findall(r"^(vendor_id|cpu family|model)\s*: (.+)$", info.read_text(), re.M) if info.is_file() else []
    )
    return " ".join(lines.values())


def train(name: str, batches: int, runs: Path) -> Curves:
    """Train a model for some batches; return each loss that it logs."""
    with threads(THREADS):
        assert main([*COMMON, *MODELS[name], "--trainer.max_steps", str(batches), "--runs", str(runs)]) == 0
    (run,) = runs.glob("*/*")
    rows = read_rows(run / "metrics.csv")
    names = sorted(key for key in rows[0] if key.startswith("train/") and "loss" in key)
    return {key: [float(row[key]) for row in rows if row[key]] for key in names}


@contextmanager
def doubles() -> Iterator[None]:
    """Let all that is float32 be float64: what modules begin with, what is drawn, and what is made of pixels."""
    torch.set_default_dtype(torch.float64)
    unchecked = patch.dict("condgen.checks.CHECKS", {"source": lambda *_: None})  # which wants float32
    try:
        with patch.object(torch.Tensor, "float", torch.Tensor.double), unchecked:
            yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def write(name: str) -> None:
    """Train a model, and keep its losses."""
    with tempfile.TemporaryDirectory() as folder:
        record = {"stack": stack(), "float32": train(name, BATCHES, Path(folder, "32"))}
        with doubles():
            record["float64"] = train(name, BATCHES_64, Path(folder, "64"))
    lines = json.dumps(record, indent=1).replace("\n   ", " ").replace("\n  ]", "]")
    (FOLDER / f"{name}.json").write_text(lines + "\n")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or MODELS:
        write(chosen)
