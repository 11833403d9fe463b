"""A trained classifier as a feature extractor."""

from __future__ import annotations

import lightning as L

from condgen.callbacks.run_folder import run_folder
from condgen.metrics import ClassifierExtractor
from condgen.metrics.extractors import save_classifier
from condgen.metrics.module_extractor import state_hash
from condgen.models import Classifier

NAME = "classifier.safetensors"


class ExportClassifier(L.Callback):
    """Writes `classifier.safetensors` at the end of `fit`, for `condgen.metrics.ClassifierExtractor`.

    Its distances are named by the data and its weights, as in `fd_mnist_1a2b3c4d`: those of two classifiers are never
    taken for one another.
    """

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the file in the first process, and read it back."""
        if not isinstance(pl_module, Classifier) or not trainer.is_global_zero:
            return
        net, data = pl_module.net, type(getattr(trainer, "datamodule", None)).__name__
        accuracy = trainer.callback_metrics.get("val/accuracy")
        card = {
            "name": f"{data.lower()}_{state_hash(net)[:8]}",
            "data": f"{data}, training split",
            "image_shape": net.shape,
            "num_classes": net.head.out_features,
            "net": net.settings,
            "validation_accuracy": None if accuracy is None else float(accuracy),
        }
        path = run_folder(trainer) / NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        save_classifier(net, path, card)
        extractor = ClassifierExtractor(str(path))
        print(
            f"extractor    {path}: --evaluation.extractor condgen.metrics.ClassifierExtractor "
            f"--evaluation.extractor.path {path} gives fd_{extractor.name}"
        )
