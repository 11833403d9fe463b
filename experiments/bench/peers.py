"""condgen's training and sampling beside its peers', on the same nets, in one process on one core.

python -m experiments.bench.peers --root DATA [--works cgan,dcgan,vae,pythae,ddpm,denoise,sampling] [--json FILE]

DATA holds MNIST/raw; the extra `bench` has the peers. Each peer as it is shipped, which is in float32, stands against
condgen as it is shipped, in float32 (the same measurement where that is its default) and in bf16. A loop by hand with
all of condgen's levers stands beside them. The first work of each group is timed twice: `noise`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from condgen.bench import Work, peaks, pin
from condgen.cli.bench_works import steady, training
from experiments.bench import peer_loops as peers
from experiments.bench import peer_sampling
from experiments.bench.bare import bare
from experiments.bench.compare import Comparison, Group, Side, options, run

HERE = Path(__file__).parent
FULL, HALF = "32-true", "bf16-mixed"
Maker = Callable[[str, Path], Work]
"""Makes a peer's work from the folder of the data and one that it may write to."""

TRAINED: dict[str, tuple[str, dict[str, Maker]]] = {
    "cgan": ("CGAN training, batch 64", {"PyTorch-GAN's cgan": peers.pytorch_gan_cgan}),
    "dcgan": ("DCGAN training, batch 64", {"PyTorch-GAN's dcgan": peers.pytorch_gan_dcgan}),
    "vae": ("VAE training, batch 128", {"pytorch/examples' VAE": peers.examples_vae}),
    "pythae": ("VAE training, batch 64", {"pythae's BaseTrainer": peers.pythae_vae}),
    "ddpm": (
        "DDPM training, 32 px, batch 32",
        {
            "denoising-diffusion-pytorch's Trainer": peers.lucidrains,
            "diffusers' U-Net in a tight loop": lambda *_: peers.diffusers_unet(half=False),
        },
    ),
}
"""Title and peers of each config's training."""
TIGHT = "diffusers' U-Net in a tight loop, channels-last, bf16"


def train(name: str, root: str, folder: Path) -> Group:
    """Compare a config's training with its peers and with a loop by hand."""
    title, theirs = TRAINED[name]
    config = ["-c", str(HERE / f"{name}.yaml"), f"--data.root={root}", "--data.download=false"]
    sides, ours = own_sides([*config, "--trainer.accelerator=cpu"], folder / "runs")
    comparisons = []
    for peer, make in theirs.items():
        sides[peer] = Side(lambda make=make, peer=peer: make(root, folder / name / peer))
        comparisons += [Comparison("condgen", peer, "defaults"), Comparison(ours[FULL], peer, "fp32")]
        comparisons.append(Comparison(ours[HALF], peer, "ours in bf16"))
    if name == "ddpm":
        sides[TIGHT] = Side(lambda: peers.diffusers_unet(half=True), HALF)
        comparisons.append(Comparison(ours[HALF], TIGHT, "bf16"))
    comparisons += [Comparison(ours[p], f"loop by hand, {p}", "overhead") for p in (FULL, HALF)]
    return Group(title, sides, comparisons)


def own_sides(config: list[str], runs: Path) -> tuple[dict[str, Side], dict[str, str]]:
    """Return condgen's training and loops by hand, and the name of condgen's in each precision."""

    def ours(*flags: str) -> Callable[[], Work]:
        return lambda: training(steady([*config, *flags], runs))

    default = str(steady(config, runs).trainer.precision)
    sides = {"condgen": Side(ours(), default), "again": Side(ours(), default)}
    names = {default: "condgen"}
    for precision in (FULL, HALF):
        flag = f"--trainer.precision={precision}"
        if precision != default:
            names[precision] = f"condgen, {precision}"
            sides[names[precision]] = Side(ours(flag), precision)
        by_hand = [*config, flag]
        sides[f"loop by hand, {precision}"] = Side(lambda by_hand=by_hand: bare(steady(by_hand, runs)), precision)
    return sides, names


def groups(root: str, folder: Path) -> Mapping[str, Callable[[], Group]]:
    """Name all groups; each is built when its turn comes."""
    return {
        **{name: lambda name=name: train(name, root, folder) for name in TRAINED},
        "denoise": lambda: peer_sampling.one_step(HERE / "ddpm.yaml", root, folder),
        "sampling": lambda: peer_sampling.whole(HERE / "ddpm.yaml", root, folder),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--works", default=",".join([*TRAINED, "denoise", "sampling"]))
    options(parser, "peers")
    args = parser.parse_args()
    pin(1)
    with TemporaryDirectory() as folder:
        found = groups(args.root, Path(folder))
        run((found[name]() for name in args.works.split(",")), peaks(), args)


if __name__ == "__main__":
    main()
