"""Features and scores on disk: what comes back is what was kept, or nothing."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from condgen.metrics import FeatureCache, Features
from condgen.metrics.feature_cache import CacheWarning

KEY = FeatureCache.key(images="a", extractor="b")
FEATURES = Features(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 4)
SCORES = {"fd": [0.1, 1e-300, 3.0], "names": ["a", "b"]}


@contextmanager
def one_warning(match: str) -> Iterator[None]:
    with pytest.warns(CacheWarning, match=match) as caught:
        yield
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)


@pytest.mark.parametrize("label", [FEATURES.label, None], ids=["labels", "no labels"])
def test_features_come_back_bit_for_bit(tmp_path: Path, label: torch.Tensor | None) -> None:
    cache = FeatureCache(tmp_path / "new" / "folder")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.load(KEY) is None
        cache.save(KEY, Features(FEATURES.features, label))
        kept = FeatureCache(cache.root).load(KEY)
    assert kept is not None
    assert torch.equal(kept.features, FEATURES.features)
    assert kept.label is None if label is None else kept.label is not None and torch.equal(kept.label, label)
    assert [path.suffix for path in cache.root.iterdir()] == [".safetensors"]


def test_features_that_are_a_view_are_kept_as_they_look(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.save(KEY, Features(FEATURES.features.T[1:], None))
    kept = cache.load(KEY)
    assert kept is not None
    assert torch.equal(kept.features, FEATURES.features.T[1:])


def test_scores_come_back(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    assert cache.load_scores(KEY) is None
    cache.save_scores(KEY, SCORES)
    assert cache.load_scores(KEY) == SCORES


def test_keys_tell_content_apart_whatever_its_order() -> None:
    assert FeatureCache.key(extractor="b", images="a") == KEY
    assert len({KEY, FeatureCache.key(images="b", extractor="a"), FeatureCache.key(images="a")}) == 3


def spoil(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[:-5]
    elif how == "empty":
        content = bytearray()
    elif how == "one bit":
        content[-9] ^= 4
    elif how == "length":
        content[:8] = (2**62).to_bytes(8, "little")
    elif how == "text":
        content = bytearray(b"not a cache file \xff")
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "empty", "one bit", "length", "text"])
def test_a_damaged_file_is_deleted_and_can_be_made_again(tmp_path: Path, how: str) -> None:
    cache = FeatureCache(tmp_path)
    cache.save(KEY, FEATURES)
    cache.save_scores(KEY, SCORES)
    for path in sorted(tmp_path.iterdir()):
        spoil(path, how)
        with one_warning("damaged"):
            assert (cache.load(KEY) if path.suffix == ".safetensors" else cache.load_scores(KEY)) is None
        assert not path.exists()
    cache.save(KEY, FEATURES)
    kept = cache.load(KEY)
    assert kept is not None
    assert torch.equal(kept.features, FEATURES.features)


def test_a_file_under_another_name_is_not_believed(tmp_path: Path) -> None:
    cache, other = FeatureCache(tmp_path), FeatureCache.key(images="other")
    cache.save(KEY, FEATURES)
    cache.save_scores(KEY, SCORES)
    for path in sorted(tmp_path.iterdir()):
        path.rename(tmp_path / f"{other}{path.suffix}")
    with one_warning("damaged"):
        assert cache.load(other) is None
    with one_warning("damaged"):
        assert cache.load_scores(other) is None


def test_a_safetensors_file_of_another_program_is_not_believed(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"features": FEATURES.features}, tmp_path / f"{KEY}.safetensors")
    with one_warning("damaged"):
        assert FeatureCache(tmp_path).load(KEY) is None


def test_a_full_disk_is_one_warning_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with one_warning("No space left on device"):
        FeatureCache(tmp_path).save(KEY, FEATURES)
    assert not list(tmp_path.iterdir())


def test_a_root_that_cannot_be_a_folder_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = FeatureCache(tmp_path / "file")
    with one_warning("cannot be written"):
        cache.save(KEY, FEATURES)
    with one_warning("cannot be read"):
        assert cache.load(KEY) is None


def test_the_default_root_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDGEN_CACHE", str(tmp_path))
    assert FeatureCache().root == tmp_path / "features"
    monkeypatch.delenv("CONDGEN_CACHE")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert FeatureCache().root == Path("/home/somebody/.cache/condgen/features")
