from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from condgen.pictures import enlarge, grid, save_png


def test_enlarging_repeats_pixels() -> None:
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    large = enlarge(images)
    assert large.shape == (3, 1, 48, 48)
    assert torch.equal(large[..., ::6, ::6], images)
    assert torch.equal(large[..., 5::6, 5::6], images)
    assert enlarge(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape[-1] == 64


def test_a_grid_holds_its_images_row_by_row() -> None:
    images = torch.arange(1, 7, dtype=torch.uint8).mul(30).view(6, 1, 1, 1).expand(6, 1, 64, 64)
    sheet = grid(images, columns=3)
    assert sheet.shape == (1, 2 * 66 + 2, 3 * 66 + 2)
    centres = sheet[0, 34::66, 34::66]
    assert centres.flatten().tolist() == [30, 60, 90, 120, 150, 180]


@pytest.mark.parametrize("channels", [1, 3])
def test_png_files_hold_the_exact_pixels(tmp_path: Path, channels: int) -> None:
    image = torch.randint(0, 256, (channels, 5, 7), dtype=torch.uint8)
    path = save_png(image, tmp_path / "new" / "picture.png")
    with Image.open(path) as file:
        assert file.mode == ("L" if channels == 1 else "RGB")
        pixels = torch.tensor(list(file.tobytes()), dtype=torch.uint8)
    assert torch.equal(pixels.view(5, 7, channels).permute(2, 0, 1), image)
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/x.png cannot be written: "):
        save_png(torch.zeros(1, 4, 4, dtype=torch.uint8), tmp_path / "file" / "x.png")
    (tmp_path / "x.png").mkdir()
    with pytest.raises(OSError, match=r"x.png cannot be written: Is a directory"):
        save_png(torch.zeros(1, 4, 4, dtype=torch.uint8), tmp_path / "x.png")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "x.png"}
