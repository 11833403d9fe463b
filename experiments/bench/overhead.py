"""What `condgen fit` takes more than a loop by hand, a step, on tiny nets and on steps of 10 ms and more.

`more than peer, ms` is the overhead, `ratio` the share of the loop's speed that is left. Beside condgen stands the same
loop as Lightning's documentation has it: every loss logged by `self.log`, optimizers toggled, and the Trainer's own
bar, logger and checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from condgen.bench import AGAIN, Comparison, Foreign, Group, Side, Work
from condgen.cli.bench_by_hand import by_hand
from condgen.cli.bench_works import Watched, training
from condgen.cli.lightning import CLI
from condgen.models import AdversarialModel
from condgen.pixels import to_model_range
from experiments.bench.settings import Part, Setting, compared

TINY = ["--model.generator.hidden=[32]", "--model.discriminator.hidden=[32]"]
USUAL = "Lightning as it is usually written"


class Usual(L.LightningModule):
    """The players of a condgen model in a training step as tutorials have it."""

    def __init__(self, model: AdversarialModel) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator = model.generator, model.discriminator
        self.model, self.weight = (model,), model.classifier_weight  # in a tuple: no part of this module

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return self.model[0].configure_optimizers()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        optimizer_g, optimizer_d = self.optimizers()
        real, cond = to_model_range(batch["pixels"]), batch["cond"]
        z = torch.randn(len(real), *self.model[0].prior_shape)
        self.toggle_optimizer(optimizer_d)
        on_real, on_fake = self.discriminator(real, cond), self.discriminator(self.generator(z, cond).detach(), cond)
        loss = self.model[0].loss.discriminator(on_real.logits, on_fake.logits)
        if self.weight:
            loss = loss + self._classified(on_real, cond) + self._classified(on_fake, cond)
        self.log("discriminator_loss", loss, prog_bar=True)
        self.manual_backward(loss)
        optimizer_d.step()
        optimizer_d.zero_grad()
        self.untoggle_optimizer(optimizer_d)
        self.toggle_optimizer(optimizer_g)
        judgement = self.discriminator(self.generator(z, cond), cond)
        loss = self.model[0].loss.generator(judgement.logits)
        loss = loss + self._classified(judgement, cond) if self.weight else loss
        self.log("generator_loss", loss, prog_bar=True)
        self.manual_backward(loss)
        optimizer_g.step()
        optimizer_g.zero_grad()
        self.untoggle_optimizer(optimizer_g)

    def _classified(self, judgement: Any, cond: dict[str, Tensor]) -> Tensor:
        logits = self.discriminator.classifier(judgement.features)
        return self.weight * torch.nn.functional.cross_entropy(logits, cond["label"])


def usual(cli: CLI, folder: Path) -> Work:
    """Fit with a Trainer that is told nothing but where to write and when not to stop."""
    cli.datamodule.prepare_data()
    module, loader = Usual(cli.model), cli.datamodule.train_dataloader()

    def fit(work: Foreign) -> None:
        trainer = L.Trainer(default_root_dir=folder, accelerator="cpu", devices=1, max_epochs=-1)
        trainer.fit(module, train_dataloaders=Watched(loader, work))

    return Foreign(fit, lambda batch: len(batch["pixels"]))


def configs(setting: Setting) -> dict[str, tuple[str, list[str]]]:
    """Return a title and the options of each config."""
    mnist = ["-c", "data/mnist.yaml", *setting.where()]
    mlp_vae = ["--model.inference.hidden=[32]", "--model.decoder.hidden=[32]", "--data.batch_size=16"]
    return {
        "digits": (
            "tiny CGAN on digits, 17 batches an epoch",
            ["-c", "data/digits.yaml", "-c", "model/cgan.yaml", *TINY],
        ),
        "tiny_cgan": ("tiny CGAN on MNIST", [*mnist, "-c", "model/cgan.yaml", *TINY, "--data.batch_size=16"]),
        "tiny_vae": ("tiny VAE on MNIST", [*mnist, "-c", "model/mlp_vae.yaml", *mlp_vae]),
        "cgan": ("CGAN, batch 64", setting.config("cgan")),
        "vae": ("VAE, batch 512", [*setting.config("vae"), "--data.batch_size=512"]),
        "ddpm": ("DDPM, batch 4", [*setting.config("ddpm"), "--data.batch_size=4"]),
    }


def group(name: str, setting: Setting) -> Group:
    """Compare condgen, and Lightning as it is usually written, with a loop by hand; all in float32."""
    title, config = configs(setting)[name]
    args = ["-c", "trainer/default.yaml", *config, "--trainer.precision=32-true"]

    def ours() -> Work:
        return training(setting.built(*args))

    sides = {"condgen": Side(ours), AGAIN: Side(ours), "loop by hand": Side(lambda: by_hand(setting.built(*args)))}
    comparisons = [Comparison("condgen", "loop by hand", "condgen")]
    if "CGAN" in title:
        sides[USUAL] = Side(lambda: usual(setting.built(*args), setting.folder / "usual"))
        comparisons.append(Comparison(USUAL, "loop by hand", "Lightning's defaults"))
    return Group(title, sides, comparisons)


NAMES = ("digits", "tiny_cgan", "tiny_vae", "cgan", "vae", "ddpm")
PARTS: Mapping[str, Part] = {f"overhead/{name}": compared(partial(group, name)) for name in NAMES}
