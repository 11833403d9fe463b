"""A trained classifier as a feature extractor."""

from __future__ import annotations

import lightning as L

from condgen.callbacks.run_folder import run_folder
from condgen.data import ImageDataModule
from condgen.data.base import Split
from condgen.metrics import ClassifierExtractor
from condgen.metrics.cas import hits
from condgen.metrics.extractors import save_classifier
from condgen.metrics.module_extractor import state_hash
from condgen.models import Classifier
from condgen.nets import ConvClassifier

NAME = "classifier.safetensors"
HELD_OUT: tuple[Split, ...] = ("validation", "test")


class ExportClassifier(L.Callback):
    """Writes `classifier.safetensors` at the end of `fit`, for `condgen.metrics.ClassifierExtractor`.

    Its card has the names of its classes, and its accuracy on the validation and the test split, measured with the
    very weights that are written. Its distances are named by the data and its weights, as in `fd_mnist_1a2b3c4d`: those
    of two classifiers are never taken for one another.
    """

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the file in the first process, and read it back."""
        path = run_folder(trainer) / NAME
        if not isinstance(pl_module, Classifier) or not trainer.is_global_zero:
            return
        data, net = getattr(trainer, "datamodule", None), exported(pl_module.net)
        name = type(data).__name__
        card = {
            "name": f"{name.lower()}_{state_hash(net)[:8]}",
            "data": f"{name}, training split",
            "image_shape": net.shape,
            "num_classes": net.head.out_features,
            "classes": list(pl_module.cond_spec["label"]["names"]),
            "net": net.settings,
            "images_seen": pl_module.images_seen,
            **held_out_accuracy(net.to(pl_module.device), data),
        }
        save_classifier(net, path, card)
        print(
            f"extractor    {path}: --evaluation.extractor condgen.metrics.ClassifierExtractor "
            f"--evaluation.extractor.path {path} gives fd_{ClassifierExtractor(str(path)).name}"
        )


def exported(net: ConvClassifier) -> ConvClassifier:
    """Copy a classifier as the file will hold it: in float32, for evaluation."""
    copy = ConvClassifier(net.shape, net.head.out_features, **net.settings)
    copy.load_state_dict(net.state_dict())
    return copy.eval()


def held_out_accuracy(net: ConvClassifier, data: object) -> dict[str, float | None]:
    """Measure the accuracy on each held-out split; null where one cannot be read, which must not cost the weights."""
    found: dict[str, float | None] = {f"{split}_accuracy": None for split in HELD_OUT}
    if not isinstance(data, ImageDataModule):
        return found
    device = net.head.weight.device
    for split in HELD_OUT:
        try:
            images = data.images(split)
            right = sum(hits(net, rows.pixels.to(device), rows.cond["label"]) for rows in images.blocks())
        except (OSError, ValueError) as error:
            print(f"warning: no {split} accuracy: {error}")
            continue
        found[f"{split}_accuracy"] = right / len(images)
    return found
