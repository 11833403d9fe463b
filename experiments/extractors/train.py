"""Train the classifiers that condgen ships as feature extractors, and write their accuracies.

python experiments/extractors/train.py digits
python experiments/extractors/train.py mnist --root FOLDER --seeds 3
python experiments/extractors/train.py cifar10 --root FOLDER --seeds 1            # meant for a GPU
python experiments/extractors/train.py cifar10_jpeg --root FILE --steps 20        # tries the recipe, writes nothing

The seed whose weights are shipped is always 0: nothing is chosen by looking at the test split.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal, NamedTuple

import lightning as L
import torch

from condgen.data import (
    CIFAR10,
    CIFAR10JPEG,
    MNIST,
    Augmentation,
    Digits,
    ImageDataModule,
    InTurn,
    RandomAffine,
    RandomFlip,
)
from condgen.metrics.extractors import WEIGHTS
from condgen.metrics.saved_net import save_net
from condgen.models import Classifier, CosineDecay
from condgen.nets import ConvClassifier

HERE = Path(__file__).parent


class Recipe(NamedTuple):
    epochs: int
    batch_size: int
    augment: Augmentation
    widths: tuple[int, ...]
    precision: Literal["32-true", "bf16-mixed"] = "32-true"


CIFAR10_RECIPE = Recipe(
    100, 128, InTurn(RandomFlip(), RandomAffine(0.0, translate=0.125, scale=0.0)), (128, 256, 512), "bf16-mixed"
)
RECIPES = {
    "digits": Recipe(60, 64, RandomAffine(degrees=10, translate=0.08, scale=0.08), (32, 64)),
    "mnist": Recipe(6, 128, RandomAffine(degrees=10, translate=0.08, scale=0.08), (16, 32, 64)),
    "cifar10": CIFAR10_RECIPE,
    "cifar10_jpeg": CIFAR10_RECIPE,
}
WITH_ROOT = {"mnist": MNIST, "cifar10": CIFAR10, "cifar10_jpeg": CIFAR10JPEG}


def make_data(name: str, root: str) -> ImageDataModule:
    recipe = RECIPES[name]
    if name == "digits":
        return Digits(batch_size=recipe.batch_size, augment=recipe.augment)
    return WITH_ROOT[name](root=root, batch_size=recipe.batch_size, augment=recipe.augment)


def train(name: str, root: str, seed: int, steps: int) -> tuple[Classifier, dict[str, Any]]:
    L.seed_everything(seed)
    recipe, data, start = RECIPES[name], make_data(name, root), time.time()
    data.prepare_data()
    num_images = len(data.images("train"))
    net = partial(ConvClassifier, widths=recipe.widths)
    model = Classifier(
        data.image_shape, data.cond_spec, net=net, lr=3e-3, schedule=CosineDecay(stop=num_images * recipe.epochs)
    )
    trainer = L.Trainer(
        max_epochs=recipe.epochs,
        max_steps=steps,
        precision=recipe.precision,
        check_val_every_n_epoch=recipe.epochs,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    if steps > 0:
        return model, {"seed": seed, "steps": trainer.global_step, "seconds": time.time() - start}
    validation = float(trainer.callback_metrics["val/accuracy"])
    trainer.test(model, data, verbose=False)
    test = float(trainer.callback_metrics["test/accuracy"])
    row = {"seed": seed, "validation_accuracy": validation, "test_accuracy": test, "seconds": time.time() - start}
    return model, row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--root", default="data", help="where the data is, as the data module's root")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=-1, help="stop so early, score nothing and write nothing")
    args = parser.parse_args()
    rows = []
    for seed in range(args.seeds):
        model, row = train(args.name, args.root, seed, args.steps)
        rows.append(row)
        print(row, flush=True)
        if seed == 0 and args.steps < 0:
            card = {
                "name": args.name,
                "data": f"{args.name}, training split",
                "classes": model.cond_spec["label"]["names"],
                "seed": seed,
                "test_accuracy": row["test_accuracy"],
            }
            WEIGHTS.mkdir(exist_ok=True)
            save_net(model.net, WEIGHTS / f"{args.name}.safetensors", card)
    if args.steps > 0:
        return
    accuracies = [row["test_accuracy"] for row in rows]
    summary = {
        "recipe": {**RECIPES[args.name]._asdict(), "augment": asdict(RECIPES[args.name].augment)},
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "test_accuracy_mean": mean(accuracies),
        "test_accuracy_sd": stdev(accuracies) if len(accuracies) > 1 else None,
        "rows": rows,
    }
    (HERE / f"{args.name}.json").write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
