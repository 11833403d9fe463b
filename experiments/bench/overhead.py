"""What `condgen fit` takes more than a loop by hand, a step, on tiny nets and on steps of 10 ms and more.

python -m experiments.bench.overhead --root DATA [--json FILE]

DATA holds MNIST/raw. `more ms/step` is the overhead, `ratio` the share of the loop's speed that is left. Beside condgen
stands the same loop as Lightning's documentation has it: every loss logged by `self.log`, optimizers toggled, and the
Trainer's own bar, logger and checkpoints.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import torch
from torch import Tensor

from condgen.bench import Foreign, Work, peaks, pin
from condgen.cli.bench_works import Watched, steady, training
from condgen.cli.lightning import CLI
from condgen.models import AdversarialModel
from condgen.pixels import to_model_range
from experiments.bench.bare import bare
from experiments.bench.compare import Comparison, Group, Side, options, run

HERE = Path(__file__).parent
TINY = ["--model.generator.hidden=[32]", "--model.discriminator.hidden=[32]", "--data.batch_size=16"]
CONFIGS = {
    "tiny CGAN on digits, 17 batches an epoch": ["-c", "data/digits.yaml", "-c", "model/cgan.yaml", *TINY[:2]],
    "tiny CGAN on MNIST": ["-c", "data/mnist.yaml", "-c", "model/cgan.yaml", *TINY],
    "tiny VAE on MNIST": [
        *["-c", "data/mnist.yaml", "-c", "model/mlp_vae.yaml", "--data.batch_size=16"],
        *["--model.inference.hidden=[32]", "--model.decoder.hidden=[32]"],
    ],
    "CGAN, batch 64": ["-c", str(HERE / "cgan.yaml")],
    "VAE, batch 512": ["-c", str(HERE / "vae.yaml"), "--data.batch_size=512"],
    "DDPM, batch 4": ["-c", str(HERE / "ddpm.yaml"), "--data.batch_size=4"],
}
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


def group(title: str, config: list[str], root: str, folder: Path) -> Group:
    """Compare condgen, and Lightning as it is usually written, with a loop by hand."""
    where = [f"--data.root={root}", "--data.download=false"] if "digits.yaml" not in " ".join(config) else []
    args = ["-c", "trainer/default.yaml", *config, *where, "--trainer.accelerator=cpu"]

    def ours() -> Work:
        return training(steady(args, folder / "runs"))

    sides: dict[str, Side] = {"condgen": Side(ours), "again": Side(ours)}
    sides["loop by hand"] = Side(lambda: bare(steady(args, folder / "runs")))
    comparisons = [Comparison("condgen", "loop by hand", "overhead")]
    if "CGAN" in title:
        sides[USUAL] = Side(lambda: usual(steady(args, folder / "runs"), folder / "usual"))
        comparisons.append(Comparison(USUAL, "loop by hand", "overhead of Lightning's defaults"))
    return Group(title, sides, comparisons)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--only", default="", help="groups whose title has this word")
    options(parser, "overhead")
    args = parser.parse_args()
    pin(1)
    with TemporaryDirectory() as folder:
        makers: list[Callable[[], Group]] = [
            lambda title=title, config=config: group(title, config, args.root, Path(folder))
            for title, config in CONFIGS.items()
            if args.only in title
        ]
        run((make() for make in makers), peaks(), args)


if __name__ == "__main__":
    main()
