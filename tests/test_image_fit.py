"""Images of other sizes and colours than are due: never changed unless asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evaluate_inputs import fast
from PIL import Image

from condgen.data import Digits, Fit, FitError, ImageSet, MemoryImages, SplitImages
from condgen.metrics.source_features import due_shape


def test_nothing_is_resized_unless_asked(samples: ImageSet) -> None:
    image = samples.pixels[0]
    small = image[:, 1:7, 1:7]
    assert Fit(resize=8)(image, (1, 8, 8)) is image
    padded = Fit(pad=8)(small, (1, 8, 8))
    assert torch.equal(padded[:, 1:7, 1:7], small)
    assert padded.sum() == small.sum()
    picture = Image.fromarray(small[0].numpy()).resize((8, 8), Image.Resampling.BICUBIC)
    assert torch.equal(Fit(resize=8)(small, (1, 8, 8))[0], torch.from_numpy(np.array(picture)))
    with pytest.raises(FitError, match="6x6, where 8x8 is due; --pad 8 puts zeros around, --resize 8 resamples"):
        Fit()(small, (1, 8, 8))
    with pytest.raises(FitError, match="larger than --pad 4"):
        Fit(pad=4)(small, (1, 4, 4))


def test_colours_become_grey_only_if_asked(samples: ImageSet) -> None:
    image = samples.pixels[0]
    assert torch.equal(Fit()(image.expand(3, -1, -1), (1, 8, 8)), image)
    assert torch.equal(Fit()(image, (3, 8, 8)), image.expand(3, -1, -1))
    red = torch.zeros(3, 8, 8, dtype=torch.uint8)
    red[0] = 255
    with pytest.raises(FitError, match="in colour, where grey is due; --grey"):
        Fit()(red, (1, 8, 8))
    assert Fit(grey=True)(red, (1, 8, 8)).unique().tolist() == [76]  # 0.299 * 255


def test_an_extractor_of_any_size_needs_one_size(samples: ImageSet) -> None:
    whole, part = MemoryImages(samples.pixels), MemoryImages(samples.pixels[:, :, :6, :6])
    assert due_shape(whole, whole, None, Fit()) == (3, 8, 8)
    assert due_shape(whole, part, None, Fit(resize=7)) == (3, 7, 7)
    with pytest.raises(ValueError, match="8x8 and images in memory 6x6, where one size is due"):
        due_shape(whole, part, None, Fit())
    with pytest.raises(ValueError, match="must become 8x8 for this extractor, not 7x7"):
        due_shape(whole, whole, (1, 8, 8), Fit(resize=7))


def test_resizing_stands_in_the_protocol(samples: ImageSet, digits: Digits) -> None:
    small = MemoryImages(samples.pixels[:, :, 1:7, 1:7], samples.cond["label"])
    result = fast(SplitImages(digits, "test"), small, fit=Fit(resize=8))
    assert result["protocol"]["resize"] == "other sizes resampled to 8x8 (Pillow, bicubic, antialiased)"
