"""Classification accuracy score: what a classifier learns from generated images (Ravuri & Vinyals 2019)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condgen.checks import check_label, check_shape
from condgen.heartbeat import heart
from condgen.metrics.evaluator import Score
from condgen.metrics.intervals import wilson_interval
from condgen.nets import ConvClassifier
from condgen.pixels import to_model_range
from condgen.seeding import derive, generator, seed_torch
from condgen.types import Shape

BATCH_SIZE = 128
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2


def classification_accuracy_score(
    images: Tensor,
    label: Tensor,
    real_images: Tensor,
    real_label: Tensor,
    *,
    num_classes: int,
    net: Callable[[Shape, int], nn.Module] = ConvClassifier,
    epochs: int = 10,
    seed: int = 0,
) -> Score:
    """Train a classifier from scratch on generated images, and return its accuracy on real ones.

    The interval is Wilson's, for the draw of the real images; that of the training is not in it.
    The recipe is fixed: AdamW with cosine decay to 0, batches of 128, no augmentation; higher is better. It is a
    function of its arguments on one device, stack and number of threads, and leaves the global generators alone.

    Args:
        images: Generated, (N, C, H, W) uint8, at least 2.
        label: The classes that were asked for, (N,) int64.
        real_images: A test split, (M, C, H, W) uint8 on the same device.
        real_label: Its classes, (M,) int64.
        num_classes: Number of classes.
        net: Factory of the classifier.
        epochs: Passes over the generated images.
        seed: Of the initial weights, the order and the dropout.
    """
    shape: Shape = (images.shape[1], images.shape[2], images.shape[3])
    for pixels, classes, what in ((images, label, "generated"), (real_images, real_label, "real")):
        check_shape(pixels, shape)
        check_label(classes, num_classes)
        if len(pixels) != len(classes):
            raise ValueError(f"{len(pixels)} {what} images have {len(classes)} labels")
    if len(images) < 2 or epochs < 1:
        raise ValueError(f"a classifier needs at least 2 images and 1 epoch, got {len(images)} and {epochs}")
    device = images.device
    with (
        torch.inference_mode(False),
        torch.enable_grad(),  # the Trainer's test loop has turned it off
        torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type),
    ):
        seed_torch(derive("cas", seed), device)
        classifier = net(shape, num_classes).to(device)
        fit(classifier, images, label.long().to(device), epochs, seed)
    right, count = hits(classifier, real_images, real_label), len(real_images)
    low, high = wilson_interval(torch.tensor(right), torch.tensor(count))
    return Score(right / count, "higher", float(low), float(high))


def fit(classifier: nn.Module, pixels: Tensor, label: Tensor, epochs: int, seed: int) -> None:
    """Train on uint8 images (N, C, H, W); an incomplete batch is dropped unless it is the only one."""
    batches = max(1, len(pixels) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * batches)
    classifier.train()
    for epoch in range(epochs):
        order = torch.randperm(len(pixels), generator=generator("cas", seed, epoch)).to(pixels.device)
        for rows in order.split(BATCH_SIZE)[:batches]:
            heart.beat()
            loss = F.cross_entropy(classifier(to_model_range(pixels[rows])), label[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay.step()


@torch.no_grad()
def hits(classifier: nn.Module, pixels: Tensor, label: Tensor, chunk: int = 512) -> int:
    """Count the uint8 images (N, C, H, W) that a classifier assigns to their class."""
    classifier.eval()
    answers = torch.cat([classifier(to_model_range(part)).argmax(dim=1) for part in pixels.split(chunk)])
    return int((answers == label.to(answers.device)).sum())
