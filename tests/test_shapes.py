"""Drawn shapes: what is drawn is what the facts say, and picture i is a function of (seed, split, i)."""

from __future__ import annotations

import time
import timeit
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from condgen.cli import main
from condgen.cli.data_config import data_module
from condgen.data import ImageSet, RandomFlip, Shapes, ShapesImages
from condgen.data.shapes import COLOURS, SHAPES, from_attributes, module
from condgen.data.shapes.draws import GAP, MARGIN, Scenes, draw_scenes, held_out_pairs, uniforms
from condgen.data.shapes.facts import COLOUR_JITTER, PALETTE, Facts
from condgen.data.shapes.geometry import coverage, extents
from condgen.data.shapes.images import CONDITIONS, FACTOR, Source
from condgen.data.shapes.render import cover

ALL = {1: CONDITIONS, 2: tuple(key for key in CONDITIONS if key != "label")}


def images(n_objects: int = 1, size: int = 32, count: int = 1000, seed: int = 0, split: str = "train") -> ShapesImages:
    return ShapesImages(
        seed, split, count, image_size=size, n_objects=n_objects, conditions=ALL[n_objects], source="sketch"
    )


def scenes(n_objects: int, count: int = 2000) -> Scenes:
    return draw_scenes(uniforms(5, torch.arange(count)), n_objects, torch.ones(4, 6, dtype=torch.bool))


@pytest.mark.parametrize("n_objects", [1, 2])
@pytest.mark.parametrize("size", [16, 32, 100])
def test_an_image_depends_on_seed_split_and_place_alone(n_objects: int, size: int) -> None:
    drawn = images(n_objects, size, 700)
    whole = drawn.take(torch.arange(700))
    places = torch.randperm(700)[:301]
    some, one = drawn.take(places), images(n_objects, size, 10**12).take(torch.tensor([699]))
    for key in ("pixels", *ALL[n_objects]):
        all_rows, rows, row = (s.pixels if key == "pixels" else s.cond[key] for s in (whole, some, one))
        assert torch.equal(rows, all_rows[places]), key
        assert torch.equal(row, all_rows[699:]), key
    for other in (images(n_objects, size, seed=1), images(n_objects, size, split="test")):
        assert not torch.equal(other.take(torch.arange(9)).pixels, whole.pixels[:9])


def test_no_two_images_of_two_splits_are_the_same() -> None:
    rows = [
        row.numpy().tobytes()
        for split in ("train", "test")
        for row in images(split=split).take(torch.arange(1000)).pixels
    ]
    assert len(set(rows)) == 2000


def test_pixels_are_as_they_were() -> None:
    """A change of what is drawn is a new data set, and must be meant."""
    pixels = images(2, 16).take(torch.arange(200)).pixels
    assert (pixels.long() * torch.arange(pixels.numel()).view_as(pixels)).sum().item() == GOLDEN


GOLDEN = 1454398381119


@pytest.mark.parametrize("shape", range(4), ids=SHAPES)
def test_cover_is_the_area_of_the_shape_in_each_pixel(shape: int) -> None:
    """Against 64 x 64 points in each pixel, by definitions of the shapes of their own."""
    x, y, size, side, fine = 0.481, 0.523, 0.27, 32, 64
    p = (torch.arange(side * fine, dtype=torch.float64) + 0.5) / (side * fine)
    u, v = ((p - x) / size).unsqueeze(0), ((p - y) / size).unsqueeze(1)
    a, w = 2 / 3**0.25, 0.2**0.5
    inside = (
        u**2 + v**2 <= 1 / torch.pi,
        (u.abs() <= 0.5) & (v.abs() <= 0.5),
        (v <= a / 12**0.5) & (3**0.5 * u.abs() - v <= a / 3**0.5),
        ((u.abs() <= w / 2) & (v.abs() <= 1.5 * w)) | ((v.abs() <= w / 2) & (u.abs() <= 1.5 * w)),
    )[shape]
    exact = F.avg_pool2d(inside.double().expand(side * fine, -1).view(1, 1, side * fine, -1), fine).squeeze()
    mine = coverage(torch.tensor([shape]), *(torch.tensor([value]) for value in (x, y, size)), side)[0]
    tolerance = 0.01 if SHAPES[shape] in ("square", "cross") else 0.13
    assert (mine - exact).abs().max() < tolerance
    assert abs(mine.sum().sqrt().item() / (size * side) - 1) < 0.01
    rows, columns = (inside.any(1).nonzero().squeeze(1), inside.any(0).nonzero().squeeze(1))
    reach = [(x - p[columns[0]]), (p[columns[-1]] - x), (y - p[rows[0]]), (p[rows[-1]] - y)]
    np.testing.assert_allclose(np.array(reach) / size, extents()[shape], atol=0.01)


@pytest.mark.parametrize("n_objects", [1, 2])
@pytest.mark.parametrize("size", [16, 32, 64])
def test_objects_have_the_area_and_the_centroid_that_facts_state(n_objects: int, size: int) -> None:
    drawn = scenes(n_objects, 500)
    covers = cover(drawn, size)
    area = covers.sum((2, 3))
    middle = (torch.arange(size) + 0.5) / size
    torch.testing.assert_close(area.sqrt() / size, drawn.facts.size, rtol=0.03, atol=0)
    torch.testing.assert_close((covers.sum(2) @ middle) / area, drawn.facts.x, rtol=0, atol=0.2 / size)
    torch.testing.assert_close((covers.sum(3) @ middle) / area, drawn.facts.y, rtol=0, atol=0.2 / size)


def test_two_objects_keep_their_distance_and_their_relation() -> None:
    facts = scenes(2, 20_000).facts
    left, right, up, down = (torch.from_numpy(extents())[facts.shape] * facts.size.unsqueeze(-1)).unbind(-1)
    assert float(torch.minimum(facts.x - left, facts.y - up).min()) > MARGIN - 1e-6
    assert float(torch.maximum(facts.x + right, facts.y + down).max()) < 1 - MARGIN + 1e-6
    start = torch.stack([facts.x - left, facts.y - up], -1)
    end = torch.stack([facts.x + right, facts.y + down], -1)
    apart = torch.maximum(start[:, 0] - end[:, 1], start[:, 1] - end[:, 0]).amax(1)
    assert float(apart.min()) > GAP - 1e-6
    across, down_ = (facts.x[:, 0] - facts.x[:, 1]).abs(), (facts.y[:, 0] - facts.y[:, 1]).abs()
    assert float((torch.minimum(across, down_) / torch.maximum(across, down_)).max()) < 0.75
    counts = torch.bincount(facts.relation.squeeze(1)) / 20_000
    torch.testing.assert_close(counts, torch.full((4,), 0.25), atol=0.015, rtol=0)
    expected = torch.tensor([0, 1, 2, 3])
    x, y = (
        torch.tensor([[0.2, 0.8], [0.8, 0.2], [0.5, 0.5], [0.5, 0.5]]),
        torch.tensor([[0.5] * 2, [0.5] * 2, [0.2, 0.8], [0.8, 0.2]]),
    )
    known = Facts(facts.shape[:4], facts.colour[:4], facts.size[:4], x, y)
    assert torch.equal(known.relation.squeeze(1), expected)


def test_all_combinations_occur_as_often_and_names_are_clear() -> None:
    facts = scenes(1, 65_000).facts
    code = ((facts.shape * 6 + facts.colour) * 3 + facts.size_name) * 9 + facts.cell
    counts = torch.bincount(code.flatten(), minlength=648)
    assert 60 < int(counts.min()) <= int(counts.max()) < 145  # 100 on average
    for value, distance in ((facts.x, 0.03), (facts.y, 0.03)):
        edges = torch.tensor([0.4125, 0.5875])
        assert float((value.unsqueeze(-1) - edges).abs().min()) > distance


def test_conditions_are_those_of_the_picture() -> None:
    drawn = images()
    index = torch.arange(200)
    rows, scene = drawn.take(index), drawn.scenes(index)
    assert torch.equal(rows.cond["label"], scene.facts.shape.squeeze(1))
    assert all(torch.equal(a, b) for a, b in zip(from_attributes(rows.cond["attributes"]), scene.facts, strict=True))
    mean = rows.pixels.float().unflatten(2, (8, 4)).unflatten(4, (8, 4)).mean((3, 5))
    assert float((rows.cond["low_res"].float() - mean).abs().max()) <= 0.5
    inside = cover(scene, 32).squeeze(1) >= 0.5
    assert torch.equal(rows.cond["mask"].long(), inside * (scene.facts.shape + 1).view(-1, 1, 1))
    full = (cover(scene, 32) == 1).squeeze(1)
    colour = scene.rgb.view(200, 1, 1, 3).expand(-1, 32, 32, -1)
    assert float((rows.pixels.permute(0, 2, 3, 1)[full] - colour[full]).abs().max()) <= 0.51
    named = torch.tensor(PALETTE)[scene.facts.colour]
    assert float((scene.rgb - named).abs().max()) <= COLOUR_JITTER


@pytest.mark.parametrize("n_objects", [1, 2])
def test_conditions_are_what_the_specification_says(n_objects: int) -> None:
    drawn = images(n_objects, 32)
    rows, spec = drawn.take(torch.arange(500)), drawn.cond_spec
    assert tuple(rows.cond) == tuple(spec) == ALL[n_objects]
    assert rows.pixels.shape == (500, *drawn.image_shape)
    attributes, low, high = rows.cond["attributes"], *(torch.tensor(spec["attributes"][key]) for key in ("low", "high"))
    assert attributes.shape == (500, len(spec["attributes"]["names"]))
    assert attributes.dtype == torch.float32
    assert bool(((attributes >= low) & (attributes <= high)).all())
    assert rows.cond["text"].shape == (500, spec["text"]["max_length"])
    assert rows.cond["mask"].shape == (500, 32, 32)
    assert int(rows.cond["mask"].max()) == spec["mask"]["num_classes"] - 1 == len(spec["mask"]["names"]) - 1
    assert rows.cond["source"].shape == (500, spec["source"]["channels"], 32, 32)
    assert rows.cond["low_res"].shape == (500, 3, 8, 8)
    assert {rows.cond[key].dtype for key in ("text", "mask", "source", "low_res")} == {torch.uint8}


def test_edges_are_closed_lines_inside_the_mask() -> None:
    drawn = ShapesImages(0, "train", 300, n_objects=2, conditions=("source", "mask"))
    rows = drawn.take(torch.arange(300))
    mask, edge = rows.cond["mask"].numpy() > 0, rows.cond["source"].squeeze(1).numpy()
    assert set(np.unique(edge)) == {0, 255}
    from scipy import ndimage

    for inside, line in zip(mask, edge, strict=True):
        assert np.array_equal(line > 0, inside & ~ndimage.binary_erosion(inside))
        assert np.array_equal(ndimage.binary_fill_holes(line), inside)


def test_the_sketch_shows_the_same_outline_in_another_way() -> None:
    drawn, index = images(), torch.arange(300)
    rows, covers = drawn.take(index), cover(drawn.scenes(index), 32).squeeze(1)
    ink = (rows.cond["source"].float() - 245).abs().amax(1)
    assert float(ink[covers == 0].max()) == 0
    outline = (rows.cond["mask"] > 0) & (edged().take(index).cond["source"].squeeze(1) > 0)
    assert float(ink[outline].mean()) > 100
    assert not torch.equal(rows.cond["source"], rows.pixels)


def edged() -> ShapesImages:
    return ShapesImages(0, "train", 300, conditions=("source",), source="edges")


@pytest.mark.parametrize("count", range(24))
def test_held_out_pairs_spread_evenly(count: int) -> None:
    table = held_out_pairs(count / 24, seed=3)
    assert int(table.sum()) == count
    assert int(table.sum(1).max() - table.sum(1).min()) <= 1
    assert int(table.sum(0).max() - table.sum(0).min()) <= 1
    assert count == 0 or any(not torch.equal(table, held_out_pairs(count / 24, seed)) for seed in range(9))


@pytest.mark.parametrize("n_objects", [1, 2])
def test_pairs_that_are_held_out_occur_in_their_test_split_alone(n_objects: int) -> None:
    def pairs(data: Shapes, split: str) -> set[tuple[int, int]]:
        facts = from_attributes(data.images(split).all().cond["attributes"])  # type: ignore[arg-type]
        return set(zip(facts.shape.flatten().tolist(), facts.colour.flatten().tolist(), strict=True))

    sizes = {"n_train": 2000, "n_validation": 2000, "n_test": 2000, "n_objects": n_objects}
    seen, hidden = (
        Shapes(**sizes, held_out=0.2, test_held_out=held, conditions=["attributes"]) for held in (False, True)
    )
    everything = {(shape, colour) for shape in range(len(SHAPES)) for colour in range(len(COLOURS))}
    assert len(pairs(seen, "train")) == 19
    assert pairs(seen, "train") == pairs(seen, "validation") == pairs(seen, "test") == pairs(hidden, "train")
    assert pairs(hidden, "test") == everything - pairs(seen, "train")


def test_a_module_draws_its_splits_and_batches() -> None:
    data = Shapes(n_train=600, n_validation=70, n_test=80, batch_size=32)
    assert data.image_shape == (3, 32, 32)
    assert data.cond_spec == {"label": {"names": ["circle", "square", "triangle", "cross"]}}
    assert [len(data.images(split)) for split in ("train", "validation", "test")] == [600, 70, 80]
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch["image"].shape == (32, 3, 32, 32)
    assert (
        len({data.fingerprint("train"), data.fingerprint("test"), Shapes(n_test=80, seed=1).fingerprint("test")}) == 3
    )
    assert Shapes(n_test=80).fingerprint("test") == data.fingerprint("test")


@pytest.mark.parametrize("n_objects", [1, 2])
def test_all_conditions_pass_the_checks_and_the_door(n_objects: int) -> None:
    data = Shapes(256, 10, 10, n_objects=n_objects, conditions=ALL[n_objects], source="sketch", batch_size=256)
    raw = next(iter(data.train_dataloader()))
    batch = data.on_after_batch_transfer(raw, 0)
    assert tuple(batch["cond"]) == ALL[n_objects]
    assert batch["cond"]["mask"].dtype == torch.int64
    for key in ("source", "low_res"):
        assert batch["cond"][key].dtype == torch.float32
        assert -1 <= float(batch["cond"][key].min()) < 0
    assert torch.equal(batch["cond"]["text"], data.drawn["train"].take(raw["index"]).cond["text"])


def test_a_large_split_is_drawn_as_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, fingerprint = Shapes(300).images("train"), Shapes(300).fingerprint("train")
    assert isinstance(kept, ImageSet)
    monkeypatch.setattr(module, "MEMORY", 300 * 3072)
    asked_for = Shapes(300)
    assert isinstance(asked_for.images("train"), ShapesImages)
    assert asked_for.fingerprint("train") == fingerprint
    assert torch.equal(torch.cat([rows.pixels for rows in asked_for.images("train").blocks()]), kept.pixels)
    for batch in asked_for.train_dataloader():
        assert torch.equal(batch["pixels"], kept.pixels[batch["index"]])
    assert len({Shapes(300, **other).fingerprint("train") for other in OTHERS}) == len(OTHERS)


OTHERS: list[dict[str, Any]] = [{}, {"seed": 1}, {"image_size": 64}, {"held_out": 0.2}, {"conditions": ["mask"]}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 8}, "image_size must be from 16 to 128, got 8"),
        ({"image_size": 33, "conditions": ["low_res"]}, f"divisible by {FACTOR} for low_res, got 33"),
        ({"n_objects": 3}, "n_objects must be 1 or 2, got 3"),
        ({"n_objects": 2}, r"conditions of 2 object\(s\) are attributes, .*; got 'label'"),
        ({"conditions": ["colour"]}, r"conditions of 1 object\(s\) are label, .*; got 'colour'"),
        ({"n_test": 0}, "the number of test images must be at least 1, got 0"),
        ({"held_out": 1.0}, r"held_out must be in \[0, 1\), got 1.0"),
        ({"test_held_out": True}, "test_held_out needs a share held_out of at least 1/24, got 0.0"),
        ({"conditions": ["text"], "augment": RandomFlip()}, "augment must be null where conditions state positions"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shapes(**arguments)  # type: ignore[arg-type]


def test_images_outside_the_split_are_refused() -> None:
    with pytest.raises(IndexError, match=r"places must be in \[0, 9\], got 3 to 10"):
        images(count=10).take(torch.tensor([3, 10]))


def test_the_config_trains_a_gan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(data_module("data/shapes.yaml", []), Shapes)
    assert data_module("data/shapes.yaml", ["--data.conditions", "[text,mask]"]).cond_spec.keys() == {"text", "mask"}
    monkeypatch.chdir(tmp_path)
    args = ["-c", "trainer/default.yaml", "-c", "data/shapes.yaml", "-c", "model/dcgan.yaml", "--data.n_train", "256"]
    steps = ["--trainer.max_steps", "2", "--trainer.limit_val_batches", "1", "--trainer.accelerator", "cpu"]
    assert main(["fit", *args, *steps]) == 0
    (run,) = tmp_path.glob("runs/*/*")
    assert main(["sample", "--ckpt", str(run), "--label", "2", "--n", "2", "--out", "grid.png"]) == 0
    assert (tmp_path / "grid.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("conditions", "source"), [(("label",), "edges"), (CONDITIONS, "edges"), (CONDITIONS, "sketch")]
)
def test_one_core_draws_twenty_thousand_images_a_second(conditions: tuple[str, ...], source: Source) -> None:
    drawn, index = ShapesImages(0, "train", 4000, conditions=conditions, source=source), torch.arange(4000)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = min(timeit.repeat(lambda: drawn.take(index), timer=time.process_time, number=1, repeat=7))
    torch.set_num_threads(threads)
    assert len(index) / seconds >= 20_000
