"""Each lever of training speed alone, moved on condgen's own configs: those that help, and those that do not.

python -m experiments.bench.levers --root DATA [--models cgan,dcgan,vae,mlp_vae,ddpm] [--json FILE]

DATA holds MNIST/raw. A row is a config with one thing changed, against the config as it is; below 1 is slower.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MethodType

import torch
from torch import Tensor

from condgen.bench import Work, peaks, pin
from condgen.cli.bench_works import steady, training
from condgen.models import AdversarialModel
from condgen.nets import Judgement
from condgen.types import Batch
from experiments.bench.compare import Comparison, Group, Side, options, run

OPTIMIZERS = {
    "cgan": ("generator_optimizer", "discriminator_optimizer"),
    "dcgan": ("generator_optimizer", "discriminator_optimizer"),
    "vae": ("optimizer",),
    "mlp_vae": ("optimizer",),
    "ddpm": ("optimizer",),
}
PLAYERS = "[generator.net, discriminator.net]"
NETS = {
    "cgan": PLAYERS,
    "dcgan": PLAYERS,
    "vae": "[nets.inference.net, nets.decoder.net]",
    "mlp_vae": "[nets.inference.net, nets.decoder.net]",
    "ddpm": "[denoiser.net]",
}
Change = Callable[[torch.nn.Module], object]


def channels_first(model: torch.nn.Module) -> None:
    model.to(memory_format=torch.contiguous_format)


def one_pass(model: torch.nn.Module) -> None:
    """Let the discriminator judge real and generated images side by side; right only where it has no batch norm."""
    assert isinstance(model, AdversarialModel)
    model.discriminator_loss = MethodType(loss_of_one_pass, model)  # type: ignore[method-assign]


def loss_of_one_pass(model: AdversarialModel, batch: Batch) -> Tensor:
    cond, real = batch["cond"], batch["image"]
    with torch.no_grad():
        fake = model.generator(model.draw_prior(len(real), "discriminator"), cond)
    both: Judgement = model.discriminator(
        torch.cat([real, fake]), {key: torch.cat([value, value]) for key, value in cond.items()}
    )
    on_real, on_fake = (Judgement(*pair) for pair in zip(*(part.chunk(2) for part in both), strict=True))
    loss = model.loss.discriminator(on_real.logits.float(), on_fake.logits.float())
    model.losses["train/discriminator_loss"] = loss.detach()
    if model.classifier_weight:
        loss = loss + model._classify(on_real, cond, "real") + model._classify(on_fake, cond, "fake")
    return loss


def group(model: str, root: str, runs: Path) -> Group:
    """Compare a config's variants with the config."""
    config = ["-c", "trainer/default.yaml", "-c", "data/mnist.yaml", "-c", f"model/{model}.yaml"]
    args = [*config, f"--data.root={root}", "--data.download=false", "--trainer.accelerator=cpu"]

    def variant(*flags: str, change: Change | None = None) -> Work:
        cli = steady([*args, *flags], runs)
        if change is not None:
            change(cli.model)
        return training(cli)

    optimizers = OPTIMIZERS[model]
    sides = {
        "as it is": Side(variant),
        "again": Side(variant),
        "bf16 autocast": Side(partial(variant, "--trainer.precision=bf16-mixed"), "bf16-mixed"),
        "Adam not fused": Side(partial(variant, *(f"--model.{name}.fused=false" for name in optimizers))),
        "Adam foreach": Side(
            partial(variant, *(f"--model.{n}.{v}" for n in optimizers for v in ("fused=false", "foreach=true")))
        ),
        "channels first": Side(partial(variant, change=channels_first)),
        "compiled": Side(partial(variant, f"--compile.nets={NETS[model]}")),
        "compiled, bf16": Side(
            partial(variant, f"--compile.nets={NETS[model]}", "--trainer.precision=bf16-mixed"), "bf16-mixed"
        ),
    }
    if "gan" in model:
        sides["one pass of the discriminator"] = Side(partial(variant, change=one_pass))
    if model == "ddpm":
        sides["checkpointed"] = Side(partial(variant, "--model.net.checkpoint=true"))
    comparisons = [Comparison(name, "as it is", name) for name in sides if name != "as it is"]
    return Group(f"{model}.yaml on MNIST", sides, comparisons)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--models", default=",".join(OPTIMIZERS))
    options(parser, "levers")
    args = parser.parse_args()
    pin(1)
    with TemporaryDirectory() as runs:
        run((group(model, args.root, Path(runs)) for model in args.models.split(",")), peaks(), args)


if __name__ == "__main__":
    main()
