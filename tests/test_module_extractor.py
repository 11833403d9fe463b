"""Any module as an extractor: what it sees, what it is known by, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet18

from condgen.data import Digits, MemoryImages
from condgen.metrics import Evaluator, ModuleExtractor, evaluate

SHAPE = (1, 8, 8)


class Function(nn.Module):
    """A module without parameters, of any function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Tensor) -> Any:
        return self.function(image)


class Seen(Function):
    """Features that are what the module sees."""

    def __init__(self) -> None:
        super().__init__(lambda image: image.flatten(1))


class Pool(nn.Module):
    """A plain attribute decides the features, and `repr` does not show it."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(image, self.kernel).flatten(1)


class Shifted(nn.Module):
    """A buffer that is not saved decides the features."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor([shift]), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image + self.shift).flatten(1)


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_module_without_parameters_scores(digits: Digits) -> None:
    pooled = ModuleExtractor(nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), "pooled", SHAPE)
    images = digits.images("test")
    sides = [MemoryImages(images.pixels[i::2], images.cond["label"][i::2]) for i in (0, 1)]
    assert list(evaluate(*sides, pooled, subset_size=50)["scores"]) == [
        "fd_pooled", "intra_fd_pooled", "kid_pooled", "precision", "recall", "density", "coverage", "diversity"
    ]  # fmt: skip
    assert pooled.feature_dim == 16
    assert pooled.to("meta").device == torch.device("meta")


def test_weights_are_the_module_s_own_and_never_random(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'mine' has parameters but no weights_path"):
        ModuleExtractor(linear(), "mine", SHAPE)
    trained, pixels = linear(), noise(3, 1, 8, 8)
    save_file(trained.state_dict(), tmp_path / "mine.safetensors")
    torch.save(trained.state_dict(), tmp_path / "mine.pth")
    one, two = (ModuleExtractor(linear(), "mine", SHAPE, str(tmp_path / f"mine.{e}")) for e in ("safetensors", "pth"))
    assert one.sha256 == two.sha256
    assert torch.allclose(one(pixels), trained(pixels.float() / 127.5 - 1), atol=1e-6)
    with pytest.raises(TypeError, match="uint8"):
        one(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\(N, 1, 8, 8\), got \(1, 1, 7, 8\)"):
        one(noise(1, 1, 7, 8))
    with pytest.raises(ValueError, match=r"must have 1 channels, got \(1, 3, 8, 8\)"):
        one(noise(1, 3, 8, 8))
    with pytest.raises(TypeError, match="has no classes"):
        one.logits(torch.zeros(1, 5))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: {"1.bias": s["1.bias"]}, r'Missing key\(s\) in state_dict: "1.weight"'),
        (lambda s: {}, r'Missing key\(s\) in state_dict: "1.weight" and 1 more'),
        (lambda s: s | {"2.bias": s["1.bias"]}, r'Unexpected key\(s\) in state_dict: "2.bias"'),
        (lambda s: s | {"1.bias": torch.zeros(4)}, r"size mismatch for 1.bias: .*\[4\].*\[5\]"),
        (lambda s: [1], "to be dict-like"),
        (lambda s: nn.Identity(), "Weights only load failed"),
    ],
)
def test_weights_that_do_not_fit_say_why_in_a_line(change: Any, reason: str, tmp_path: Path) -> None:
    torch.save(change(linear().state_dict()), path := tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"other.pth holds no weights of Sequential: .*{reason}") as error:
        ModuleExtractor(linear(), "mine", SHAPE, str(path))
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="no weights file nowhere"):
        ModuleExtractor(linear(), "mine", SHAPE, "nowhere.pth")


def test_all_that_decides_the_features_is_in_the_hash() -> None:
    seen = {
        "plain": ModuleExtractor(Seen(), "x", SHAPE),
        "class": ModuleExtractor(nn.Flatten(), "x", SHAPE),
        "structure": ModuleExtractor(nn.Sequential(nn.Flatten(), nn.ReLU()), "x", SHAPE),
        "buffer 0": ModuleExtractor(Shifted(0.0), "x", SHAPE),
        "buffer 1": ModuleExtractor(Shifted(1.0), "x", SHAPE),
        "attribute 2": ModuleExtractor(Pool(2), "x", SHAPE),
        "attribute 4": ModuleExtractor(Pool(4), "x", SHAPE),
        "shape": ModuleExtractor(Seen(), "x", (1, 8, 7)),
        "bicubic": ModuleExtractor(Seen(), "x", SHAPE, resample="bicubic"),
        "bilinear": ModuleExtractor(Seen(), "x", SHAPE, resample="bilinear"),
        "mean": ModuleExtractor(Seen(), "x", SHAPE, mean=[0.5], std=[1.0]),
        "std": ModuleExtractor(Seen(), "x", SHAPE, mean=[0.5], std=[0.5]),
        "layer": ModuleExtractor(nn.Sequential(nn.Flatten(), nn.ReLU()), "x", SHAPE, layer="0"),
    }
    hashes = [extractor.sha256 for extractor in seen.values()]
    assert len(set(hashes)) == len(hashes)
    assert ModuleExtractor(Shifted(1.0), "y", SHAPE).sha256 == seen["buffer 1"].sha256


@pytest.mark.parametrize(
    ("name", "filter_"), [("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)]
)
def test_it_resamples_as_pillow_does(name: Any, filter_: Image.Resampling) -> None:
    pixels = noise(2, 3, 40, 28)
    made = ModuleExtractor(Seen(), "seen", (3, 16, 12), resample=name)(pixels).view(2, 3, 16, 12)
    for image, channels in zip(made, pixels, strict=True):
        for ours, channel in zip(image, channels, strict=True):
            theirs = torch.frombuffer(
                bytearray(Image.fromarray(channel.numpy()).resize((12, 16), filter_).tobytes()), dtype=torch.uint8
            )
            assert (((ours + 1) * 127.5).flatten() - theirs).abs().max() < 1.01  # Pillow rounds after each direction
    assert made.min() >= -1
    assert made.max() <= 1
    same = noise(1, 3, 16, 12)
    exact = ModuleExtractor(Seen(), "seen", (3, 16, 12))
    assert torch.equal(ModuleExtractor(Seen(), "seen", (3, 16, 12), resample=name)(same), exact(same))


def test_images_of_any_size_are_scored_where_it_resamples(digits: Digits) -> None:
    images = MemoryImages(digits.images("test").pixels[:60])
    extractor = ModuleExtractor(Pool(4), "pooled", (3, 16, 16), resample="bilinear", mean=[0.5] * 3, std=[0.25] * 3)
    result = evaluate(images, images, extractor, subset_size=50)
    assert abs(result["scores"]["fd_pooled"]["value"]) < 1e-6
    card = result["protocol"]["extractor"]
    assert card["resample"] == "bilinear, antialiased, to 16x16, clamped to [-1, 1]"
    assert (card["mean"], card["std"]) == ([0.5] * 3, [0.25] * 3)


def test_grey_is_shown_as_colour_and_values_are_normalised() -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    grey = noise(2, 1, 8, 8)
    shown = ModuleExtractor(Seen(), "seen", (3, 8, 8), mean=mean, std=std)(grey).view(2, 3, 8, 8)
    expected = (grey.float() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert torch.allclose(shown, expected, atol=1e-5)
    as_grey = ModuleExtractor(Seen(), "seen", SHAPE)
    assert torch.equal(as_grey(grey.expand(-1, 3, -1, -1)), as_grey(grey))


def test_features_may_be_those_of_a_layer(tmp_path: Path) -> None:
    net = resnet18(num_classes=4).eval()
    torch.save(net.state_dict(), tmp_path / "resnet.pth")
    extractor = ModuleExtractor(
        resnet18(num_classes=4), "resnet18", (3, 32, 32), str(tmp_path / "resnet.pth"), layer="avgpool"
    )
    pixels = noise(3, 1, 32, 32)
    features = Evaluator(extractor).extract(pixels, None).features
    assert features.shape == (3, 512)
    image = pixels.expand(-1, 3, -1, -1).float() / 127.5 - 1
    with torch.no_grad():
        assert torch.allclose(net.fc(features), net(image), atol=1e-4)


BAD: dict[str, tuple[nn.Module, str]] = {
    "map": (nn.AvgPool2d(2), r"return float features \(N, D\), got \(2, 1, 4, 4\)"),
    "integers": (Function(lambda x: x.flatten(1).long()), r"float features \(N, D\), got \(2, 64\) torch.int64"),
    "tuple": (Function(lambda x: (x,)), "got tuple"),
    "rows": (Function(lambda x: x.flatten(1)[:1]), r"got \(1, 64\)"),
    "empty": (Function(lambda x: x.flatten(1)[:, :0]), r"got \(2, 0\)"),
    "not finite": (Function(lambda x: x.flatten(1).log()), "not finite for 2 images"),
    "random": (Function(lambda x: nn.functional.dropout(x.flatten(1) + 3)), "other features for the same images"),
    "channels": (nn.PixelUnshuffle(3), r"fails on images \(1, 8, 8\): "),
}


@pytest.mark.parametrize("case", BAD)
def test_what_gives_no_features_is_refused_at_once(case: str) -> None:
    module, line = BAD[case]
    with pytest.raises(ValueError, match=f"extractor 'bad' .*{line}") as error:
        ModuleExtractor(module, "bad", SHAPE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"mean": [0.5]}, "give both mean and std"),
        ({"mean": [0.5], "std": [0.0]}, r"std must be above 0, got \[0.0\]"),
        ({"mean": [0.5] * 3, "std": [0.5]}, "mean must have 1 values, got 3"),
        ({"layer": "fc"}, "no layer 'fc'; there are 0, 1"),
        ({"image_shape": (2, 8, 8)}, r"image_shape must be \(1 or 3, H, W\), got \(2, 8, 8\)"),
        ({"name": "a b"}, "name must be letters"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any], line: str) -> None:
    module = nn.Sequential(nn.Flatten(), nn.ReLU())
    with pytest.raises(ValueError, match=line):
        ModuleExtractor(module, **{"name": "x", "image_shape": SHAPE} | options)
