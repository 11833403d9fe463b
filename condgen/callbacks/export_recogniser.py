"""A trained classifier as a feature extractor, a trained segmenter or tagger as a judge of masks or captions."""

from __future__ import annotations

import lightning as L
import torch

from condgen.callbacks.run_folder import run_folder
from condgen.data import ImageDataModule, Images
from condgen.data.base import Split
from condgen.metrics.module_extractor import state_hash
from condgen.metrics.saved_net import read_net, save_net
from condgen.models import Recogniser
from condgen.nets import RecognisingNet
from condgen.pixels import to_model_range

HELD_OUT: tuple[Split, ...] = ("validation", "test")
USES = {
    "classifier": "--evaluation.extractor condgen.metrics.ClassifierExtractor --evaluation.extractor.path {path} "
    "gives fd_{name}",
    "tagger": "--evaluation.obedience '[{{class_path: condgen.metrics.CaptionMatch, init_args: {{weights: {path}}}}}]'",
    "segmenter": "--evaluation.obedience '[{{class_path: condgen.metrics.SegmentedMask, "
    "init_args: {{weights: {path}}}}}]'",
}
"""How condgen's own are used, said at the end of `fit`."""
CHUNK = 64


class ExportRecogniser(L.Callback):
    """Writes `classifier.safetensors`, or that of another recogniser, at the end of `fit`, for metrics to judge by.

    Its card has the names of its classes, and its scores on the validation and the test split, measured with the very
    weights that are written. It is named by the data and its weights, as in `mnist_1a2b3c4d`, and so are the distances
    `fd_mnist_1a2b3c4d`: those of two nets are never taken for one another.
    """

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the file in the first process, and read it back."""
        folder = run_folder(trainer)
        if not isinstance(pl_module, Recogniser) or not trainer.is_global_zero:
            return
        model, data = pl_module, getattr(trainer, "datamodule", None)
        path, net = folder / f"{model.what}.safetensors", exported(model.net)
        name = type(data).__name__
        card = {
            "name": f"{name.lower()}_{state_hash(net)[:8]}",
            "data": f"{name}, training split",
            **model.card(),
            "images_seen": model.images_seen,
            **held_out_scores(model, net.to(model.device), data),
        }
        save_net(net, path, card)
        found = read_net(str(path), type(net), model.what)
        print(f"{model.what:<12} {path}: {USES.get(model.what, '').format(path=path, name=found.card['name'])}")


def exported(net: RecognisingNet) -> RecognisingNet:
    """Copy a net as the file will hold it: in float32, for evaluation."""
    copy = type(net)(net.shape, net.num_classes, **net.settings)
    copy.load_state_dict(net.state_dict())
    return copy.eval()


def held_out_scores(model: Recogniser, net: RecognisingNet, data: object) -> dict[str, float | None]:
    """Measure the scores on each held-out split; null where one cannot be read, which must not cost the weights."""
    found: dict[str, float | None] = {f"{split}_{name}": None for split in HELD_OUT for name in model.score_names}
    if not isinstance(data, ImageDataModule):
        return found
    for split in HELD_OUT:
        try:
            scores = measured(model, net, data.images(split))
        except (OSError, ValueError) as error:
            print(f"warning: no {split} scores: {error}")
            continue
        found |= {f"{split}_{name}": value for name, value in scores.items()}
    return found


@torch.no_grad()
def measured(model: Recogniser, net: RecognisingNet, images: Images) -> dict[str, float]:
    """Return a net's scores on images, counted as the model counts."""
    total = torch.zeros(model.num_counts, dtype=torch.int64, device=model.device)
    for rows in images.blocks():
        due = rows.cond[model.key].to(model.device)
        for pixels, classes in zip(rows.pixels.split(CHUNK), due.split(CHUNK), strict=True):
            total = total + model.count(net(to_model_range(pixels.to(model.device))), classes)
    return model.scores(total)
