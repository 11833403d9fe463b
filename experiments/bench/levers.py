"""Each lever of speed alone, moved on condgen's own configs: those that help, and those that do not.

A row is a config in float32 with one thing changed, against the config as it is; below 1 is slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial

import torch

import condgen.models.denoiser
from condgen.bench import AGAIN, Comparison, Foreign, Group, Loop, Side, Work
from condgen.cli.bench_works import sampling, training
from condgen.models import AdversarialModel
from condgen.models.players import compile_nets
from experiments.bench.settings import FULL, HALF, Part, Setting, compared

PLAYERS = ("generator_optimizer", "discriminator_optimizer"), "[generator.net, discriminator.net]"
MODELS = {
    "cgan": PLAYERS,
    "dcgan": PLAYERS,
    "mlp_vae": (("optimizer",), "[nets.inference.net, nets.decoder.net]"),
    "ddpm": (("optimizer",), "[denoiser.net]"),
}
"""Optimizers of each model, and its nets."""
Change = Callable[[torch.nn.Module], object]


def channels_first(model: torch.nn.Module) -> None:
    model.to(memory_format=torch.contiguous_format)


def two_passes(model: torch.nn.Module) -> None:
    """Let the discriminator judge real and generated images one after the other."""
    assert isinstance(model, AdversarialModel)
    model.discriminator.compares = True


def arguments(name: str, setting: Setting) -> list[str]:
    """Return the options of a shipped config on MNIST, in float32."""
    config = ["-c", "trainer/default.yaml", "-c", "data/mnist.yaml", "-c", f"model/{name}.yaml"]
    return [*config, *setting.where(), f"--trainer.precision={FULL}"]


def trained(name: str, setting: Setting) -> Group:
    """Compare training with variants of a config with the config."""
    optimizers, nets = MODELS[name]

    def variant(*flags: str, change: Change | None = None) -> Work:
        cli = setting.built(*arguments(name, setting), *flags)
        if change is not None:
            change(cli.model)
        return training(cli)

    def giving_back() -> Work:
        work = variant()
        assert isinstance(work, Foreign)
        work.around = nullcontext
        return work

    def optimizer(*settings: str) -> Work:
        return variant(*(f"--model.{which}.{value}" for which in optimizers for value in settings))

    compiled, half = f"--compile.nets={nets}", f"--trainer.precision={HALF}"
    sides = {
        "as it is": Side(variant),
        AGAIN: Side(variant),
        "bfloat16": Side(partial(variant, half), HALF),
        "memory given back": Side(giving_back),
        "Adam not fused": Side(partial(optimizer, "fused=false")),
        "Adam foreach": Side(partial(optimizer, "fused=false", "foreach=true")),
        "bfloat16, compiled": Side(partial(variant, compiled, half), HALF),
    }
    if name not in ("cgan", "mlp_vae"):
        sides["channels first"] = Side(partial(variant, change=channels_first))
    if "gan" in name:
        sides["two passes of the discriminator"] = Side(partial(variant, change=two_passes))
        sides["shared fakes"] = Side(partial(variant, "--model.shared_fakes=true"))
    if name == "ddpm":
        sides["checkpointed"] = Side(partial(variant, "--model.net.checkpoint=true"))
    return Group(f"{name}.yaml on MNIST, training", sides, changes(sides))


def changes(sides: Mapping[str, Side]) -> list[Comparison]:
    """Compare all with the config as it is."""
    out = [Comparison(name, "as it is", name) for name in sides if name not in ("as it is", AGAIN)]
    both = "bfloat16", "bfloat16, compiled"
    return [*out, Comparison(both[1], both[0], "compiled, both bfloat16")] if set(both) <= set(sides) else out


def sampled(name: str, setting: Setting) -> Group:
    """Compare sampling in variants with sampling as it is; of the diffusion by 4 steps, guided, in chunks of 16."""
    few, usual = (["--model.sampler.steps=4"], 16) if name == "ddpm" else ([], 64)

    def variant(chunk: int = usual, *, half: bool = False, compiled: bool = False) -> Work:
        model, work = sampling(setting.built(*arguments(name, setting), *few), half)
        model.sample_chunk = chunk
        if compiled:
            compile_nets(model.sampling_net)
        return work

    sides = {
        "as it is": Side(variant),
        AGAIN: Side(variant),
        f"chunks of {usual // 4}": Side(partial(variant, usual // 4)),
        f"chunks of {usual * 4}": Side(partial(variant, usual * 4)),
        "bfloat16": Side(partial(variant, half=True), HALF),
        "compiled": Side(partial(variant, compiled=True)),
    }
    if name == "ddpm":
        sides["guidance in one batch"] = Side(lambda: InOneBatch(variant()))
    return Group(f"{name}.yaml on MNIST, sampling", sides, changes(sides))


class InOneBatch:
    """Work whose steps estimate under all conditions at once, as on a GPU."""

    def __init__(self, loop: Work) -> None:
        assert isinstance(loop, Loop)
        self.inner, self.device = loop.step, loop.device
        self.loop = Loop(self.step, loop.device)
        self.block, self.close = self.loop.block, self.loop.close

    def step(self) -> int:
        before = condgen.models.denoiser.in_one_batch
        condgen.models.denoiser.in_one_batch = lambda device: True
        try:
            return self.inner()
        finally:
            condgen.models.denoiser.in_one_batch = before


PARTS: Mapping[str, Part] = {
    **{f"levers/{name}": compared(partial(trained, name)) for name in MODELS},
    **{f"levers/{name}_sampling": compared(partial(sampled, name)) for name in ("dcgan", "ddpm")},
}
