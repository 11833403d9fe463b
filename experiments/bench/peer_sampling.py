"""One evaluation of diffusion nets, and sampling with them, at batch 16."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from condgen.allocation import memory_kept
from condgen.bench import AGAIN, Comparison, Group, Loop, Side, Work
from condgen.models import DDPM
from condgen.processes import DDIM
from experiments.bench import peer_loops as loops
from experiments.bench.settings import FULL, HALF, Part, Setting, compared

BATCH, STEPS = 16, 10
LABEL = {"label": torch.arange(BATCH) % 10}


def ours(setting: Setting) -> DDPM:
    """Return condgen's model, that samples in chunks of the batch, without guidance."""
    model = setting.built(*setting.config("ddpm")).model
    assert isinstance(model, DDPM)
    model.sample_chunk, model.sampler = BATCH, DDIM(steps=STEPS)
    return model.eval()


def forward(
    net: Callable[[Tensor, Tensor], object],
    half: bool = False,
    dtype: torch.dtype = torch.float32,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Work:
    """Apply a net to a batch."""
    x, t = torch.randn(BATCH, *loops.SHAPE).to(dtype), torch.full((BATCH,), 500)

    @torch.no_grad()
    def step() -> int:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            net(x, t)
        return BATCH

    return Loop(step, around=around)


def unet(setting: Setting, half: bool) -> Work:
    """Return one evaluation of condgen's net."""
    model = ours(setting)
    denoiser = model.sampling_net
    encoded = denoiser.encoder(LABEL)
    return forward(lambda x, t: denoiser.net(x, t, encoded), half, around=memory_kept)


def peer(make: Callable[[], nn.Module], how: str) -> Work:
    """Return one evaluation of a peer's net: as it is, by autocast, or with all of its weights in bfloat16."""
    net = make().eval()
    if how == "fp32":
        return forward(net)
    net = net.to(memory_format=torch.channels_last)
    return forward(net, half=True) if how == "autocast" else forward(net.bfloat16(), dtype=torch.bfloat16)


def one_step(setting: Setting) -> Group:
    """Compare one evaluation of the nets."""
    sides = {
        "condgen": Side(partial(unet, setting, False)),
        AGAIN: Side(partial(unet, setting, False)),
        "condgen, bf16": Side(partial(unet, setting, True), HALF),
    }
    nets = {
        "diffusers' U-Net": (loops.diffusers_net, ("autocast", "bf16 weights")),
        "denoising-diffusion-pytorch's U-Net": (loops.lucidrains_net, ("autocast",)),
    }
    comparisons = [Comparison("condgen, bf16", "condgen", "bf16 against fp32")]
    for name, (make, halves) in nets.items():
        sides[name] = Side(partial(peer, make, "fp32"))
        comparisons += [Comparison("condgen", name, "fp32"), Comparison("condgen, bf16", name, "ours in bf16")]
        for how in halves:
            sides[f"{name}, {how}"] = Side(partial(peer, make, how), HALF)
            comparisons.append(Comparison("condgen, bf16", f"{name}, {how}", "both bf16"))
    return Group("one evaluation of the U-Net, batch 16", sides, comparisons)


def whole(setting: Setting) -> Group:
    """Compare sampling in a few DDIM steps as each code base does it."""
    from denoising_diffusion_pytorch import GaussianDiffusion

    def sampled(half: bool) -> Work:
        model = ours(setting)
        model.half_samples = half
        return Loop(lambda: len(model.sample(LABEL, seeds=torch.arange(BATCH))), around=memory_kept)

    def theirs() -> Work:
        diffusion = GaussianDiffusion(loops.lucidrains_net(), image_size=32, sampling_timesteps=STEPS)
        return Loop(lambda: len(diffusion.sample(batch_size=BATCH)))

    name = "denoising-diffusion-pytorch, GaussianDiffusion.sample"
    sides = {"condgen": Side(partial(sampled, False)), AGAIN: Side(partial(sampled, False))}
    sides |= {"condgen, bf16": Side(partial(sampled, True), HALF), name: Side(theirs, FULL)}
    comparisons = [Comparison("condgen", name, "fp32"), Comparison("condgen, bf16", name, "ours in bf16")]
    return Group(f"sampling, {STEPS} DDIM steps, batch 16", sides, comparisons)


PARTS: Mapping[str, Part] = {"sampling/step": compared(one_step), "sampling/whole": compared(whole)}
