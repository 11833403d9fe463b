"""One evaluation of diffusion nets, and sampling with them, at batch 16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from condgen.bench import Loop, Work
from condgen.cli.bench_works import steady
from condgen.models import DDPM
from condgen.processes import DDIM
from experiments.bench import peer_loops as peers
from experiments.bench.compare import Comparison, Group, Side

BATCH, STEPS = 16, 10


def ours(config: Path, root: str, folder: Path) -> DDPM:
    """Return condgen's model, that samples in chunks of the batch, without guidance."""
    args = ["-c", str(config), "--data.root", root, "--data.download=false", "--trainer.accelerator=cpu"]
    model = steady(args, folder / "runs").model
    assert isinstance(model, DDPM)
    model.sample_chunk, model.sampler = BATCH, DDIM(steps=STEPS)
    return model.eval()


def forward(net: Callable[[Tensor, Tensor], object], half: bool) -> Work:
    """Apply a net to a batch."""
    x, t = torch.randn(BATCH, *peers.SHAPE), torch.full((BATCH,), 500)

    @torch.no_grad()
    def step() -> int:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            net(x, t)
        return BATCH

    return Loop(step)


def channels_last(net: nn.Module) -> nn.Module:
    return net.to(memory_format=torch.channels_last)


def one_step(config: Path, root: str, folder: Path) -> Group:
    """Compare one evaluation of the nets."""
    label = {"label": torch.arange(BATCH) % 10}

    def unet(half: bool) -> Callable[[], Work]:
        def make() -> Work:
            model = ours(config, root, folder)
            net, encoded = model.sampling_net.net, model.sampling_net.encoder(label)
            return forward(lambda x, t: net(x, t, encoded), half)

        return make

    def of(make: Callable[[], nn.Module], half: bool) -> Callable[[], Work]:
        return lambda: forward((channels_last(make()) if half else make()).eval(), half)

    half = "bf16-mixed"
    sides = {
        "condgen": Side(unet(False)),
        "again": Side(unet(False)),
        "condgen bf16": Side(unet(True), half),
        "diffusers' U-Net": Side(of(peers.diffusers_net, False)),
        "diffusers' U-Net, channels-last, bf16": Side(of(peers.diffusers_net, True), half),
        "denoising-diffusion-pytorch's U-Net": Side(of(peers.lucidrains_net, False)),
        "denoising-diffusion-pytorch's U-Net, channels-last, bf16": Side(of(peers.lucidrains_net, True), half),
    }
    comparisons = [Comparison("condgen", name, "fp32") for name in sides if "'" in name and "bf16" not in name]
    comparisons += [Comparison("condgen bf16", name, "bf16") for name in sides if "'" in name and "bf16" in name]
    return Group("one evaluation of the U-Net, batch 16", sides, comparisons)


def whole(config: Path, root: str, folder: Path) -> Group:
    """Compare sampling in a few DDIM steps as each code base does it, in float32."""
    from denoising_diffusion_pytorch import GaussianDiffusion

    def sampled() -> Work:
        model = ours(config, root, folder)
        cond = {"label": torch.arange(BATCH) % 10}
        return Loop(lambda: len(model.sample(cond, seeds=torch.arange(BATCH))))

    def theirs() -> Work:
        diffusion = GaussianDiffusion(peers.lucidrains_net(), image_size=32, sampling_timesteps=STEPS)
        return Loop(lambda: len(diffusion.sample(batch_size=BATCH)))

    peer = "denoising-diffusion-pytorch, GaussianDiffusion.sample"
    sides = {"condgen": Side(sampled), "again": Side(sampled), peer: Side(theirs)}
    return Group(f"sampling, {STEPS} DDIM steps, batch 16", sides, [Comparison("condgen", peer, "fp32")])
