"""Several processes: one model, and the same images on each of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from functools import partial
from hashlib import sha256
from pathlib import Path
import lightning as L
import torch
from condgen.data import Digits
from condgen.models import CGAN, DDPM, VAE
from condgen.nets import UNet
from condgen.pixels import to_uint8

class Spy(L.Callback):
    def on_validation_epoch_end(self, trainer, model):
        images = to_uint8(model.sample({"label": torch.arange(10)}, seeds=torch.arange(10)))
        state = b"".join(value.numpy().tobytes() for value in model.sampling_net.state_dict().values())
        text = sha256(images.numpy().tobytes()).hexdigest() + " " + sha256(state).hexdigest()
        Path(sys.argv[1], f"rank{trainer.global_rank}").write_text(text)

if __name__ == "__main__":
    L.seed_everything(0)
    data = Digits()
    net = partial(UNet, width=8, multipliers=(1, 2), blocks=1, attention=(4,))
    family = {"CGAN": CGAN, "VAE": VAE, "DDPM": partial(DDPM, net=net)}[sys.argv[2]]
    strategy = "ddp_find_unused_parameters_true" if family is CGAN else "ddp"
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy=strategy, max_steps=20, val_check_interval=8,
        callbacks=[Spy()], logger=False, enable_checkpointing=False, enable_progress_bar=False,
    )
    trainer.fit(family(data.image_shape, data.cond_spec), data)
"""


@pytest.mark.parametrize("family", ["CGAN", "VAE", "DDPM"])
def test_all_processes_sample_the_same_images(family: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "train.py", str(tmp_path), family],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / f"rank{rank}").read_text() for rank in range(2))
    assert first == second
