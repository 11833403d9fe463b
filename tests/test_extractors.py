"""Extractors: the published Inception, any module, and one's own classifier."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import lightning as L
import pytest
import torch
from local_server import Answer, local_server
from safetensors.torch import save_file
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from condgen.callbacks import ExportClassifier
from condgen.data import Digits
from condgen.metrics import ClassifierExtractor, DigitsExtractor, Evaluator, InceptionExtractor, ModuleExtractor
from condgen.metrics.inception import CANONICAL_SHA256, find_weights
from condgen.models import Classifier


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


def test_any_module_is_an_extractor_but_never_with_random_weights(tmp_path: Path, digits: Digits) -> None:
    pooled = ModuleExtractor(nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), "pooled", (1, 8, 8))
    images = digits.images("test")
    evaluator = Evaluator(pooled)
    real, fake = (
        evaluator.extract(images.pixels[rows], images.cond["label"][rows]) for rows in (slice(180), slice(180, 360))
    )
    scores = evaluator.score(real, fake).scores
    assert list(scores) == [
        "fd_pooled", "intra_fd_pooled", "kid_pooled", "precision", "recall", "density", "coverage", "diversity"
    ]  # fmt: skip
    assert pooled.feature_dim == 16

    def linear() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))

    with pytest.raises(ValueError, match="'mine' has parameters but no weights_path"):
        ModuleExtractor(linear(), "mine", (1, 8, 8))
    trained = linear()
    save_file(trained.state_dict(), tmp_path / "mine.safetensors")
    torch.save(trained.state_dict(), tmp_path / "mine.pth")
    one, two = (
        ModuleExtractor(linear(), "mine", (1, 8, 8), str(tmp_path / f"mine.{ending}"))
        for ending in ("safetensors", "pth")
    )
    assert one.sha256 == two.sha256 != pooled.sha256
    assert torch.allclose(one(images.pixels[:3]), trained(images.pixels[:3].float() / 127.5 - 1), atol=1e-6)
    with pytest.raises(ValueError, match=r"must return features \(N, D\), got \(2, 1, 4, 4\)"):
        ModuleExtractor(nn.AvgPool2d(2), "map", (1, 8, 8))
    with pytest.raises(ValueError, match=r"mine.pth holds no weights of Linear"):
        ModuleExtractor(nn.Linear(2, 2), "other", (1, 8, 8), str(tmp_path / "mine.pth"))
    with pytest.raises(TypeError, match="uint8"):
        one(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\(N, 1, 8, 8\)"):
        one(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(TypeError, match="has no classes"):
        one.logits(torch.zeros(1, 5))


def test_fit_leaves_a_classifier_that_judges(make_trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    data = Digits()
    model = Classifier(data.image_shape, data.cond_spec)
    make_trainer(max_steps=150, callbacks=[ExportClassifier()], limit_val_batches=1.0).fit(model, data)
    extractor = ClassifierExtractor(str(tmp_path / "classifier.safetensors"))
    images = data.images("test")
    evaluator = Evaluator(extractor)
    features = evaluator.extract(images.pixels, images.cond["label"])
    assert evaluator.score(features, features).scores["label_accuracy"].value > 0.9
    assert extractor.name.startswith("digits_")
    assert extractor.name != DigitsExtractor().name
    assert extractor.card["validation_accuracy"] > 0.9
