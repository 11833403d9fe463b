"""Peers' training loops, as works to be timed: in the order, and with the defaults, of their scripts or trainers.

What is on the registry runs as it is (pythae, denoising-diffusion-pytorch, diffusers); the loops of PyTorch-GAN and of
pytorch/examples are written anew from what their READMEs and scripts are known to do, and no code is copied.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from condgen.bench import Foreign, Loop, Work
from condgen.cli.bench_works import Watched
from condgen.nets import Judgement
from condgen.pictures import save_png
from condgen.types import CondDims, Encoded
from experiments.bench.peer_nets import (
    CGANDiscriminator,
    CGANGenerator,
    DCGANDiscriminator,
    DCGANGenerator,
    DiffusersUNet,
    ReLUDecoder,
    ReLUEncoder,
)

SHAPE = (1, 32, 32)


def mnist(root: str, batch: int, *steps: Any, padded: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of MNIST for ever, each image opened by PIL and transformed by itself, as DataLoaders do."""
    images = datasets.MNIST(root, transform=transforms.Compose([*steps]))
    if padded:  # once, so that it costs the peer nothing
        images.data = F.pad(images.data, (2, 2, 2, 2))
    loader = DataLoader(images, batch, shuffle=True)
    while True:
        yield from loader


def gan_loader(root: str) -> Iterator[tuple[Tensor, Tensor]]:
    steps = transforms.Resize(32), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])
    return mnist(root, 64, *steps)


# ---------------------------------------------------------------------- PyTorch-GAN


def pytorch_gan_cgan(root: str, folder: Path) -> Work:
    """Least squares on logits, an embedding of ten numbers for each player; labels of fakes are drawn anew."""
    embed_g, embed_d = nn.Embedding(10, 10), nn.Embedding(10, 10)
    net_g, net_d = CGANGenerator(SHAPE, CondDims(10)), CGANDiscriminator(SHAPE, CondDims(10))

    def generate(z: Tensor, label: Tensor) -> Tensor:
        return net_g(z, Encoded(vector=embed_g(label)))

    def judge(image: Tensor, label: Tensor) -> Tensor:
        judgement: Judgement = net_d(image, Encoded(vector=embed_d(label)))
        return judgement.logits[:, None]

    players = nn.ModuleList([net_g, embed_g]), nn.ModuleList([net_d, embed_d])
    return gan_loop(generate, judge, players, nn.MSELoss(), gan_loader(root))


def pytorch_gan_dcgan(root: str, folder: Path) -> Work:
    """Cross-entropy on probabilities, without a condition."""
    net_g, net_d = DCGANGenerator(SHAPE, CondDims()), DCGANDiscriminator(SHAPE, CondDims())

    def generate(z: Tensor, label: Tensor) -> Tensor:
        return net_g(z, Encoded())

    def judge(image: Tensor, label: Tensor) -> Tensor:
        return torch.sigmoid(net_d(image, Encoded()).logits[:, None])

    return gan_loop(generate, judge, (net_g, net_d), nn.BCELoss(), gan_loader(root))


def gan_loop(
    generate: Callable[[Tensor, Tensor], Tensor],
    judge: Callable[[Tensor, Tensor], Tensor],
    players: tuple[nn.Module, nn.Module],
    criterion: nn.Module,
    feed: Iterator[tuple[Tensor, Tensor]],
) -> Work:
    """The generator's turn, then the discriminator's on the same fakes; both losses are read at every step."""
    optimizer_g, optimizer_d = (torch.optim.Adam(p.parameters(), lr=2e-4, betas=(0.5, 0.999)) for p in players)

    def step() -> int:
        real, label = next(feed)
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        optimizer_g.zero_grad()
        z = torch.as_tensor(np.random.normal(0, 1, (len(real), 100)), dtype=torch.float32)  # noqa: NPY002
        asked = torch.as_tensor(np.random.randint(0, 10, len(real)))  # noqa: NPY002
        fake = generate(z, asked)
        loss_g = criterion(judge(fake, asked), ones)
        loss_g.backward()
        optimizer_g.step()
        optimizer_d.zero_grad()
        loss_d = (criterion(judge(real, label), ones) + criterion(judge(fake.detach(), asked), zeros)) / 2
        loss_d.backward()
        optimizer_d.step()
        _ = f"{loss_d.item():f} {loss_g.item():f}"
        return len(real)

    return Loop(step)


# ---------------------------------------------------------------------- variational autoencoders


def examples_vae(root: str, folder: Path) -> Work:
    """pytorch/examples: cross-entropy on probabilities, summed; the loss is read at every step."""
    encoder, decoder = (net(SHAPE, CondDims(), hidden=400, latent_dim=20) for net in (ReLUEncoder, ReLUDecoder))
    optimizer = torch.optim.Adam(nn.ModuleList([encoder, decoder]).parameters(), lr=1e-3)
    feed = mnist(root, 128, transforms.ToTensor(), padded=True)

    def step() -> int:
        image, _ = next(feed)
        optimizer.zero_grad()
        mu, logvar = encoder(image, Encoded())
        std = torch.exp(0.5 * logvar)
        white = torch.sigmoid(decoder(mu + torch.randn_like(std) * std, Encoded()))
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss = F.binary_cross_entropy(white.flatten(1), image.flatten(1), reduction="sum") + kl
        loss.backward()
        loss.item()
        optimizer.step()
        return len(image)

    return Loop(step)


def pythae_vae(root: str, folder: Path) -> Work:
    """pythae's own trainer on its own default nets; the data lie in memory as it is given them."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.getLogger("pythae").setLevel(logging.ERROR)
    pixels = F.pad(datasets.MNIST(root).data, (2, 2, 2, 2)).unsqueeze(1).float() / 255
    model = VAE(VAEConfig(input_dim=SHAPE, latent_dim=16))
    trainer = BaseTrainer(
        model,
        BaseDataset(data=pixels, labels=torch.ones(len(pixels))),
        training_config=BaseTrainerConfig(output_dir=str(folder), num_epochs=10_000, no_cuda=True),
    )
    loader = trainer.train_loader

    def train(work: Foreign) -> None:
        trainer.train_loader = Watched(loader, work)
        trainer.train()

    return Foreign(train, lambda batch: len(batch["data"]))


# ---------------------------------------------------------------------- diffusion


def lucidrains_net() -> nn.Module:
    from denoising_diffusion_pytorch import Unet

    return Unet(dim=32, dim_mults=(1, 2, 4), channels=1)


def lucidrains(root: str, folder: Path) -> Work:
    """denoising-diffusion-pytorch's own trainer on a folder of PNGs, without its FID."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Trainer
    from denoising_diffusion_pytorch import denoising_diffusion_pytorch as module

    images = F.pad(datasets.MNIST(root).data[:1000], (2, 2, 2, 2)).unsqueeze(1)
    for number, image in enumerate(images):
        save_png(image, folder / "images" / f"{number}.png")
    module.cpu_count = lambda: 0  # workers would take the core from what is timed beside it, and their time is not seen
    trainer = Trainer(
        GaussianDiffusion(lucidrains_net(), image_size=32),
        str(folder / "images"),
        train_batch_size=32,
        results_folder=str(folder),
        save_and_sample_every=10**9,
        train_num_steps=10**9,
        calculate_fid=False,
    )
    feed = trainer.dl

    def train(work: Foreign) -> None:
        trainer.dl = work.each(feed)
        trainer.train()

    return Foreign(train, len)


def diffusers_net() -> nn.Module:
    return DiffusersUNet(SHAPE, CondDims()).net


def diffusers_unet(half: bool) -> Work:
    """diffusers' U-Net in a loop with nothing else: one batch again and again, AdamW, no average, no log."""
    net = diffusers_net()
    net = net.to(memory_format=torch.channels_last) if half else net
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    image = torch.rand(32, *SHAPE) * 2 - 1
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)

    def step() -> int:
        noise, t = torch.randn_like(image), torch.randint(1000, (len(image),))
        scale = alpha_bar[t].view(-1, 1, 1, 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = F.mse_loss(net(scale.sqrt() * image + (1 - scale).sqrt() * noise, t).sample, noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return len(image)

    return Loop(step)
