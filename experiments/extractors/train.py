"""Train the classifiers that condgen ships as feature extractors, and write their accuracies.

python experiments/extractors/train.py digits
python experiments/extractors/train.py mnist --root FOLDER --seeds 3

The seed whose weights are shipped is always 0: nothing is chosen by looking at the test split.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import lightning as L
import torch

from condgen.data import MNIST, Digits, ImageDataModule, RandomAffine
from condgen.metrics.extractors import WEIGHTS, save_classifier
from condgen.models import Classifier, CosineDecay
from condgen.nets import ConvClassifier

HERE = Path(__file__).parent


class Recipe(NamedTuple):
    epochs: int
    batch_size: int
    augment: RandomAffine
    widths: tuple[int, ...]


RECIPES = {
    "digits": Recipe(60, 64, RandomAffine(degrees=10, translate=0.08, scale=0.08), (32, 64)),
    "mnist": Recipe(6, 128, RandomAffine(degrees=10, translate=0.08, scale=0.08), (16, 32, 64)),
}


def make_data(name: str, root: str) -> ImageDataModule:
    recipe = RECIPES[name]
    if name == "digits":
        return Digits(batch_size=recipe.batch_size, augment=recipe.augment)
    return MNIST(root=root, batch_size=recipe.batch_size, augment=recipe.augment)


def train(name: str, root: str, seed: int) -> tuple[Classifier, dict[str, Any]]:
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
        check_val_every_n_epoch=recipe.epochs,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    validation = float(trainer.callback_metrics["val/accuracy"])
    trainer.test(model, data, verbose=False)
    test = float(trainer.callback_metrics["test/accuracy"])
    row = {"seed": seed, "validation_accuracy": validation, "test_accuracy": test, "seconds": time.time() - start}
    return model, row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--root", default="data", help="folder of the MNIST files")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    rows = []
    for seed in range(args.seeds):
        model, row = train(args.name, args.root, seed)
        rows.append(row)
        print(row, flush=True)
        if seed == 0:
            card = {
                "name": args.name,
                "data": f"{args.name}, training split",
                "image_shape": model.net.shape,
                "num_classes": model.net.head.out_features,
                "net": {"widths": RECIPES[args.name].widths},
                "seed": seed,
                "test_accuracy": row["test_accuracy"],
            }
            WEIGHTS.mkdir(exist_ok=True)
            save_classifier(model.net, WEIGHTS / f"{args.name}.safetensors", card)
    accuracies = [row["test_accuracy"] for row in rows]
    summary = {
        "recipe": {**RECIPES[args.name]._asdict(), "augment": vars(RECIPES[args.name].augment)},
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "test_accuracy_mean": mean(accuracies),
        "test_accuracy_sd": stdev(accuracies) if len(accuracies) > 1 else None,
        "rows": rows,
    }
    (HERE / f"{args.name}.json").write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
