"""What the samples of tar shards are, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

from condgen.data.archive_stores import TarStore
from condgen.data.decode import SUFFIXES
from condgen.data.shard_samples import Sample, image_of, open_shards, split_words, text_of
from condgen.data.survey import Survey, compare_copies, judge, look_at

BESIDE = {"cls", "txt", "json"}
"""Endings of files that stand beside images."""


def survey_shards(path: Path, say: str | None = None) -> Survey | None:
    """Look at the samples of tar shards; None if there are no shards, or nothing is beside their images.

    Args:
        path: A shard, or a folder of shards.
        say: What a progress bar calls the work; null for none.

    Raises:
        ValueError: If a shard is damaged, or shards name splits in part.
    """
    if not (path.suffix == ".tar" if path.is_file() else any(path.rglob("*.tar"))):
        return None
    store, shards, samples = open_shards(path)
    if not any(has_both(sample) for sample in samples):
        return None
    out, words = Survey(path), split_words(shards, path)
    found = {place: sample for sample in samples if (place := image_place(out, sample)) is not None}
    out.looks = look_at(store, list(found), say)
    places = {}
    for place, sample in found.items():
        word, label = words[store.archive_of(place)], text_beside(out, store, sample, "cls")
        places[store.names[place]] = word, label
        out.splits[word] += 1
        if label:
            out.classes[label] += 1
        if caption := text_beside(out, store, sample, "txt"):
            out.captions.append(caption)
    judge(out)
    compare_copies(out, places)
    return out


def has_both(sample: Sample) -> bool:
    """Tell whether a sample has an image, and something beside it."""
    return bool(BESIDE & sample.files.keys()) and any(f".{ending}" in SUFFIXES for ending in sample.files)


def image_place(out: Survey, sample: Sample) -> int | None:
    """Find a sample's image; say what is wrong if it has none, or two."""
    try:
        return image_of(out.path, sample)
    except ValueError as error:
        out.wrong.append(str(error))
        return None


def text_beside(out: Survey, store: TarStore, sample: Sample, ending: str) -> str:
    """Read a text beside an image, if it is there; say what is wrong if it is none."""
    try:
        return text_of(store, sample, ending) if ending in sample.files else ""
    except (ValueError, OSError) as error:
        out.wrong.append(str(error))
        return ""
