"""condgen's training beside its peers', on the same nets: each as it is shipped, and both in float32.

Peers compute in float32, as shipped. condgen stands beside them as shipped, in float32, and in bfloat16, one of which
is the default. Loops by hand with all of condgen's levers stand beside it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from condgen.bench import AGAIN, Comparison, Group, Side, Work
from condgen.cli.bench_by_hand import by_hand
from condgen.cli.bench_works import training
from experiments.bench import peer_loops as loops
from experiments.bench.settings import FULL, HALF, Part, Setting, compared

Maker = Callable[[str, Path], Work]
"""Makes a peer's work from the folder of the data and one that it may write to."""

TRAINED: dict[str, tuple[str, dict[str, Maker]]] = {
    "cgan": ("CGAN training, batch 64", {"PyTorch-GAN's cgan": loops.pytorch_gan_cgan}),
    "dcgan": ("DCGAN training, batch 64", {"PyTorch-GAN's dcgan": loops.pytorch_gan_dcgan}),
    "vae": ("VAE training, batch 128", {"pytorch/examples' VAE": loops.examples_vae}),
    "pythae": ("VAE training, batch 64", {"pythae's BaseTrainer": loops.pythae_vae}),
    "ddpm": (
        "DDPM training, 32 px, batch 32",
        {
            "denoising-diffusion-pytorch's Trainer": loops.lucidrains,
            "diffusers' U-Net in a tight loop": lambda *_: loops.diffusers_unet(half=False),
        },
    ),
}
"""Title and peers of each config's training."""
TIGHT = "diffusers' U-Net in a tight loop, channels-last, bf16"


def group(name: str, setting: Setting) -> Group:
    """Compare a config's training with its peers and with loops by hand."""
    title, theirs = TRAINED[name]
    sides, ours = own_sides(setting, setting.config(name))
    comparisons = []
    for peer, make in theirs.items():
        sides[peer] = Side(partial(make, setting.root, setting.folder / peer))
        comparisons += [Comparison("condgen", peer, "defaults"), Comparison(ours[FULL], peer, "fp32")]
        comparisons += [Comparison(ours[HALF], peer, "bf16")]
    if name == "ddpm":
        sides[TIGHT] = Side(partial(loops.diffusers_unet, half=True), HALF)
        comparisons.append(Comparison(ours[HALF], TIGHT, "both bf16"))
    comparisons += [Comparison(ours[p], f"loop by hand, {p}", "by hand") for p in (FULL, HALF)]
    return Group(title, sides, comparisons)


def own_sides(setting: Setting, config: list[str]) -> tuple[dict[str, Side], dict[str, str]]:
    """Return condgen's training and loops by hand, and the name of condgen's in each precision."""

    def ours(*flags: str) -> Work:
        return training(setting.built(*config, *flags))

    def hand(*flags: str) -> Work:
        return by_hand(setting.built(*config, *flags))

    default = str(setting.built(*config).trainer.precision)
    sides = {"condgen": Side(ours, default), AGAIN: Side(ours, default)}
    names = {default: "condgen"}
    for precision in (FULL, HALF):
        flag = f"--trainer.precision={precision}"
        if precision != default:
            names[precision] = f"condgen, {precision}"
            sides[names[precision]] = Side(partial(ours, flag), precision)
        sides[f"loop by hand, {precision}"] = Side(partial(hand, flag), precision)
    return sides, names


PARTS: Mapping[str, Part] = {f"peers/{name}": compared(partial(group, name)) for name in TRAINED}
