"""Extractors: the published Inception, and one's own classifier."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import lightning as L
import pytest
import torch
from conftest import same_weights
from local_server import Answer, local_server
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from condgen.callbacks import ExportRecogniser
from condgen.data import Digits, ImageSet
from condgen.data.base import Split
from condgen.metrics import (
    ClassifierExtractor,
    DigitsExtractor,
    Evaluator,
    InceptionExtractor,
)
from condgen.metrics.inception import CANONICAL_SHA256, find_weights
from condgen.metrics.saved_net import save_net
from condgen.models import Classifier
from condgen.nets import ConvClassifier


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of the right architecture with random weights: only tests may use one."""
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(torch, "load", lambda *args, **kwargs: {})
        net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], "none")
    source = torch.Generator().manual_seed(0)
    for value in net.parameters():
        if value.ndim > 1:
            value.copy_(torch.randn(value.shape, generator=source) * (2 / value[0].numel()) ** 0.5)
    torch.save(net.state_dict(), path)
    return path, sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("count", "shape"),
    [pytest.param(64, (3, 32, 32), marks=pytest.mark.slow), (4, (3, 40, 28)), (4, (1, 28, 28))],
)
def test_inception_equals_torch_fidelity(
    count: int, shape: tuple[int, int, int], inception_file: tuple[Path, str]
) -> None:
    path, digest = inception_file
    ours = InceptionExtractor(str(path), digest)
    theirs = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(path))
    pixels = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    evaluator = Evaluator(ours)
    features = evaluator.extract(pixels, None).features if count == 64 else ours(pixels)
    expected, logits = (torch.cat(parts) for parts in zip(*map(theirs, as_colour(pixels).split(16)), strict=True))
    assert expected.std() > 0.01
    assert torch.allclose(features, expected, atol=1e-4, rtol=0)
    assert torch.allclose(ours.logits(features), logits, atol=1e-4, rtol=0)
    assert not ours.canonical
    assert f"fd_inception_{digest[:8]}" in evaluator.score_names
    assert "fid" not in evaluator.score_names


def as_colour(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.expand(-1, 3, -1, -1)


def test_only_the_published_weights_give_published_scores(inception_file: tuple[Path, str]) -> None:
    path, digest = inception_file
    with pytest.raises(ValueError, match=f"SHA-256 is {digest}, not {CANONICAL_SHA256}"):
        InceptionExtractor(str(path))
    with pytest.raises(ValueError, match="no weights file nowhere"):
        InceptionExtractor("nowhere")
    extractor = InceptionExtractor(str(path), digest)
    extractor.canonical = True  # as the published file would have it
    assert Evaluator(extractor).score_names[:4] == ["fid", "intra_fid", "kid", "is"]


def test_inception_names_what_it_does_not_take(inception_file: tuple[Path, str], tmp_path: Path) -> None:
    path, digest = inception_file
    extractor = InceptionExtractor(str(path), digest)
    with pytest.raises(TypeError, match="uint8"):
        extractor(torch.rand(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"\(N, 1 or 3, H, W\)"):
        extractor(torch.zeros(2, 4, 8, 8, dtype=torch.uint8))
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("not weights")
    for name in ("other.pth", "text.pth"):
        wrong = tmp_path / name
        with pytest.raises(ValueError, match=rf"{name} holds no weights of torch-fidelity's Inception"):
            InceptionExtractor(str(wrong), sha256(wrong.read_bytes()).hexdigest())


def test_weights_are_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    body = b"weights" * 1000
    with local_server() as server:
        url = server.serve("weights.pth", Answer(body[:10], length=len(body)), Answer(body))
        for _ in range(2):
            path = find_weights(url, sha256(body).hexdigest())
            assert path == tmp_path / "hub" / "checkpoints" / "weights.pth"
            assert path.read_bytes() == body
        assert len(server.asked) == 2


FAULTS = {
    "truncated": (Answer(b"weights", length=7000), "it broke off after 7 of 7,000 bytes"),
    "garbled": (Answer(b"other"), f"its SHA-256 is {sha256(b'other').hexdigest()}, not abc"),
    "gone": (Answer(code=404), "HTTP 404 Not Found"),
    "out of order": (Answer(code=500), "HTTP 500 Internal Server Error"),
    "refused": (None, "Connection refused"),
    "disk full": (Answer(b"weights"), "weights.pth cannot be written: No space left on device"),
    "damaged before": (Answer(b"weights"), "weights.pth is not the file that is due"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_is_wrong_with_weights_the_way_out_is_said(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, reason = FAULTS[name]
    folder, digest = tmp_path / "hub" / "checkpoints", "abc"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    if name == "damaged before":
        folder.mkdir(parents=True)
        (folder / "weights.pth").write_bytes(b"half")
    if name == "disk full":
        digest = sha256(b"weights").hexdigest()
        monkeypatch.setattr(os, "fsync", no_space)
    with local_server() as server:
        url = "http://127.0.0.1:9/weights.pth" if answer is None else server.serve("weights.pth", answer)
        monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.URL_INCEPTION_V3", url)
        with pytest.raises(ValueError, match=r"^no Inception weights: ") as caught:
            InceptionExtractor(sha256=digest)
    line = str(caught.value)
    assert reason in line
    assert line.endswith(
        f"; get {url} (SHA-256 {digest}) and name it as weights_path, or use a classifier meanwhile: a shipped one "
        "(DigitsExtractor, MNISTExtractor) or, by ClassifierExtractor, your own"
    )
    assert "\n" not in line
    left = [path.name for path in folder.iterdir()]
    assert left == (["weights.pth"] if name == "damaged before" else [])


def no_space(number: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_fit_leaves_a_classifier_that_judges(make_trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    data = Digits()
    model = Classifier(data.image_shape, data.cond_spec)
    trainer = make_trainer(
        max_steps=150, callbacks=[ExportRecogniser()], limit_val_batches=1.0, val_check_interval=20,
        check_val_every_n_epoch=None
    )  # fmt: skip
    trainer.fit(model, data)
    extractor = ClassifierExtractor(str(tmp_path / "classifier.safetensors"))
    evaluator, card = Evaluator(extractor), extractor.card
    for split in ("validation", "test"):
        images = data.images(split)
        features = evaluator.extract(images.pixels, images.cond["label"])
        measured = evaluator.score(features, features).scores["label_accuracy"].value
        assert card[f"{split}_accuracy"] == pytest.approx(measured, abs=1e-6)
        assert measured > 0.9
    assert extractor.name.startswith("digits_")
    assert extractor.name != DigitsExtractor().name
    assert extractor.class_names == card["classes"] == DigitsExtractor.class_names
    assert card["images_seen"] == model.images_seen == 150 * 64
    assert same_weights(extractor.net, model.net)
    assert [path.name for path in tmp_path.iterdir()] == ["classifier.safetensors"]


def test_a_split_that_cannot_be_read_costs_no_weights(
    make_trainer: Callable[..., L.Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class NoTest(Digits):
        def load(self, split: Split) -> ImageSet:
            if split == "test":
                raise FileNotFoundError("no test images")
            return super().load(split)

    data = NoTest()
    make_trainer(max_steps=1, callbacks=[ExportRecogniser()]).fit(Classifier(data.image_shape, data.cond_spec), data)
    card = ClassifierExtractor(str(tmp_path / "classifier.safetensors")).card
    assert card["test_accuracy"] is None
    assert 0 <= card["validation_accuracy"] <= 1
    assert "warning: no test scores: no test images" in capsys.readouterr().out


def test_a_classifier_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, path = ConvClassifier((1, 8, 8), 2), tmp_path / "new" / "x.safetensors"
    card = {"name": "x"}
    save_net(net, path, card)
    before = path.read_bytes()

    other = ConvClassifier((1, 8, 8), 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="No space left"):
            save_net(other, path, card)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before
    net.num_classes = 3
    save_net(net, path, card)
    with pytest.raises(ValueError, match=r"size mismatch for head.weight: .*\[2, 128\].*\[3, 128\]") as error:
        ClassifierExtractor(str(path))
    assert "\n" not in str(error.value)


def test_convolutions_lie_channels_last() -> None:
    weights = [module.weight for module in DigitsExtractor().modules() if isinstance(module, torch.nn.Conv2d)]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
